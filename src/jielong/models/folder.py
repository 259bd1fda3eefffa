"""Model folders in Hugging Face layout: load a network from one, save a network as one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jielong.core.errors import JielongError
from jielong.core.files import read_json, to_json, write_atomically
from jielong.core.model_folder import base_of
from jielong.models.adapters import load_adapter, merge_and_unload
from jielong.models.config import ModelConfig
from jielong.models.families import TensorMap, family_of, tensor_sources
from jielong.models.hf_config import config_from_hf, config_to_hf
from jielong.models.lineage import check_base
from jielong.models.sizes import count_parameters
from jielong.models.transformer import Transformer
from jielong.models.weights import INDEX, WEIGHTS, WeightFiles, write_weights

CONFIG = "config.json"
GENERATION_CONFIG = "generation_config.json"
_DTYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
_CLASSIFIER = "ForSequenceClassification"
MAX_SHARD_BYTES = 5_000_000_000


def load_config(folder: Path) -> ModelConfig:
    """Read the shape of a model folder from its config.json; of an adapter folder, its base's."""
    if not folder.is_dir():
        raise JielongError(f"{folder} is not a model folder: no such folder")
    folder = base_of(folder) or folder
    return config_from_hf(read_json(folder / CONFIG), str(folder / CONFIG))


def is_reward_model(folder: Path) -> bool:
    """Whether a model folder holds a sequence classifier, that is a network that scores whole texts."""
    names = read_json(folder / CONFIG).get("architectures") or []
    return any(str(name).endswith(_CLASSIFIER) for name in names)


def load_model(
    folder: Path,
    dtype: torch.dtype | None = torch.float32,
    device: torch.device | str = "cpu",
    merge: bool = True,
    scored: bool = False,
) -> Transformer:
    """Load a network, in evaluation mode, from a Hugging Face folder of a known family.

    Args:
        folder: holds config.json and model.safetensors, or its shards and their index; or an adapter in
            PEFT's layout, which is put on its base.
        dtype: of the weights in memory; None keeps the file's.
        device: where the weights go.
        merge: merge an adapter into the weights, so that the network is a plain one; False keeps it beside
            them, ready to be trained or disabled.
        scored: load a reward model, a sequence classifier with one label, in place of a language model.

    Raises:
        JielongError: one line that names file and tensor when anything is missing, damaged, pickled, left
            over, of another shape, or when the tokenizer beside it has ids that the embedding lacks.
    """
    folder = Path(folder)
    base = base_of(folder)
    if base is None:
        return _load_network(folder, dtype, device, scored)
    check_base(folder, base)
    model = load_adapter(folder, _load_network(base, dtype, device, False))
    _check_vocabulary(folder, model.config)
    return (merge_and_unload(model) if merge else model).eval()


def _load_network(
    folder: Path, dtype: torch.dtype | None, device: torch.device | str, scored: bool
) -> Transformer:
    config = load_config(folder)
    _check_vocabulary(folder, config)
    if is_reward_model(folder) != scored:
        kinds = ("a language model", "a reward model")
        raise JielongError(f"{folder} holds {kinds[not scored]}, not {kinds[scored]}")
    with WeightFiles(folder) as files:
        with torch.device("meta"):
            model = Transformer(config)
            if scored:
                model.add_score()
        sources = _find_sources(model, files)
        _check_leftovers(model, files, sources)
        for name, (tensor_map, theirs) in sources.items():
            _check_shapes(model.get_parameter(name), files, config, tensor_map, theirs)
        if dtype is None:
            dtype = files.dtype(sources["embed.weight"][1][0])
        model = model.to(dtype).to_empty(device=device)
        with torch.no_grad():
            for name, (tensor_map, theirs) in sources.items():
                _fill(model.get_parameter(name), files, config, tensor_map, theirs)
    return model.eval()


def _find_sources(model: Transformer, files: WeightFiles) -> dict[str, tuple[TensorMap, tuple[str, ...]]]:
    """Our tensors with the names under which this folder's files hold them; a missing one is an error."""
    config = model.config
    prefix = family_of(config.family, "").prefix + "."
    sources = tensor_sources(config, [name for name, _ in model.named_parameters()])
    if not any(
        name.startswith(prefix) for name in files
    ):  # saved from a bare base model, like GPT-2's own file
        sources = {
            ours: (tensor_map, tuple(name.removeprefix(prefix) for name in theirs))
            for ours, (tensor_map, theirs) in sources.items()
        }
    embed_map, embed = sources["embed.weight"]
    if config.tie_word_embeddings and embed[0] not in files and "lm_head.weight" in files:
        sources["embed.weight"] = (embed_map, ("lm_head.weight",))
    for _, theirs in sources.values():
        for name in theirs:
            if name not in files:
                hint = (
                    "; set tie_word_embeddings in config.json if the head is tied"
                    if "lm_head" in name
                    else ""
                )
                raise JielongError(
                    f"{files.folder}: tensor {name}, which {CONFIG} asks for, is in no weight file{hint}"
                )
    return sources


def _check_leftovers(
    model: Transformer, files: WeightFiles, sources: Mapping[str, tuple[TensorMap, tuple[str, ...]]]
) -> None:
    """Refuse tensors that this network would not use: the folder then holds another network."""
    config = model.config
    used = {name for _, theirs in sources.values() for name in theirs}
    ignored = family_of(config.family, "").ignored
    for name in files:
        if name in used or (ignored and name.endswith(ignored)):
            continue
        if name == "lm_head.weight" and config.tie_word_embeddings:
            embedding = sources["embed.weight"][1][0]
            if files.shape(name) == files.shape(embedding) and torch.equal(
                files.read(name), files.read(embedding)
            ):
                continue
            raise JielongError(
                f"{files.where(name)} differs from the embedding though {CONFIG} ties them; "
                f"set tie_word_embeddings to false"
            )
        raise JielongError(
            f"{files.where(name)} is not a part of a {config.family} network of {CONFIG}'s shape"
        )


def _check_shapes(
    ours: Tensor, files: WeightFiles, config: ModelConfig, tensor_map: TensorMap, theirs: Sequence[str]
) -> None:
    sizes = tensor_map.sizes(config) or (ours.shape[0],)
    for name, rows in zip(theirs, sizes, strict=True):
        wanted = (rows, *ours.shape[1:])
        if tensor_map.transposed:
            wanted = wanted[::-1]
        if files.shape(name) != wanted:
            raise JielongError(
                f"{files.where(name)} has shape {list(files.shape(name))} but {CONFIG} says {list(wanted)}"
            )
        files.dtype(name)


def _fill(
    ours: Tensor, files: WeightFiles, config: ModelConfig, tensor_map: TensorMap, theirs: Sequence[str]
) -> None:
    """Copy the file's tensors into the rows of ours; a type is converted on the way."""
    parts = _rows(ours, tensor_map, config)
    for part, name in zip(parts, theirs, strict=True):
        tensor = files.read(name)
        part.copy_(tensor.t() if tensor_map.transposed and tensor.dim() == 2 else tensor)


def _rows(ours: Tensor, tensor_map: TensorMap, config: ModelConfig) -> list[Tensor]:
    """Views of the rows of our tensor that are one tensor each in the file."""
    parts, start = [], 0
    for size in tensor_map.sizes(config) or (ours.shape[0],):
        parts.append(ours.narrow(0, start, size))
        start += size
    return parts


def _check_vocabulary(folder: Path, config: ModelConfig) -> None:
    """A tokenizer id without a row of the embedding would read beyond it."""
    path = folder / "tokenizer.json"
    if not path.exists():
        return
    tokenizer = read_json(path)
    try:
        vocabulary = tokenizer["model"]["vocab"]
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        added = [token["id"] for token in tokenizer.get("added_tokens") or []]
        highest = max([*ids, *added], default=-1)
    except (KeyError, TypeError, AttributeError):
        raise JielongError(f"{path} is not a tokenizer of the tokenizers library") from None
    if highest >= config.vocab_size:
        raise JielongError(
            f"{path} has token ids up to {highest} but {folder / CONFIG} has vocab_size {config.vocab_size}; "
            f"the tokenizer belongs to another model"
        )


def save_model(
    model: Transformer,
    folder: Path,
    *,
    eos_id: int | Sequence[int],
    bos_id: int | None = None,
    pad_id: int | None = None,
    dtype: torch.dtype | None = None,
    generation: Mapping[str, Any] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Save a network as a Hugging Face folder: config.json, weights and generation_config.json.

    Args:
        model: on any device.
        folder: new, or without a model in it: models are never changed in place.
        eos_id: the token, or tokens, that end a turn.
        bos_id: the token that starts a document, if any.
        pad_id: the token that fills up batches, if any.
        dtype: of the stored weights; None keeps the model's.
        generation: further entries of generation_config.json, such as {"temperature": 0.7, "do_sample":
            True}.
        max_shard_bytes: weights larger than this are cut into several files.

    Raises:
        JielongError: when the folder holds a model already, a token id is outside of the vocabulary, or the
            family's files cannot express the shape.
    """
    folder = Path(folder)
    if model.adapter is not None:
        raise JielongError(
            "this network carries an adapter; save that, or merge it (merge_and_unload) before"
        )
    if _expected_parameters(model) != sum(weight.numel() for weight in model.parameters()):
        raise JielongError(
            "this network was prepared for inference and has lost its weights' layout; save it before"
        )
    dtype = dtype or model.embed.weight.dtype
    if dtype not in _DTYPES:
        raise JielongError(f"cannot save weights as {dtype}; use float32, bfloat16 or float16")
    if any((folder / name).exists() for name in (CONFIG, WEIGHTS, INDEX)):
        raise JielongError(
            f"{folder} holds a model already, and models are never changed in place; name a new folder"
        )
    tokens = _token_entries(eos_id, bos_id, pad_id)
    for kind, stated in tokens.items():
        for token in stated if isinstance(stated, list) else [stated]:
            if token is not None and not 0 <= token < model.config.vocab_size:
                raise JielongError(
                    f"{kind} {token} is outside of the vocabulary of {model.config.vocab_size}"
                )
    # transformers 5 reads `dtype`; vLLM, llama.cpp's converter and transformers 4 also know `torch_dtype`.
    config = {**config_to_hf(model.config), **tokens, "dtype": _DTYPES[dtype], "torch_dtype": _DTYPES[dtype]}
    if model.score is not None:
        config |= _classifier_keys(config["architectures"][0])
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, *_exported(model, dtype), max_shard_bytes)
    write_generation_config(folder, eos_id=eos_id, bos_id=bos_id, pad_id=pad_id, generation=generation)
    write_atomically(folder / CONFIG, to_json({**config, "use_cache": True}))


def write_generation_config(
    folder: Path,
    *,
    eos_id: int | Sequence[int],
    bos_id: int | None = None,
    pad_id: int | None = None,
    generation: Mapping[str, Any] | None = None,
) -> None:
    """Write generation_config.json; the arguments are `save_model`'s."""
    entries = {**_token_entries(eos_id, bos_id, pad_id), **(generation or {})}
    write_atomically(folder / GENERATION_CONFIG, to_json(entries))


def _token_entries(eos_id: int | Sequence[int], bos_id: int | None, pad_id: int | None) -> dict[str, Any]:
    eos = eos_id if isinstance(eos_id, int) else list(eos_id)
    return {"bos_token_id": bos_id, "eos_token_id": eos, "pad_token_id": pad_id}


def _expected_parameters(model: Transformer) -> int:
    """Weights of a network that was not taken apart; one that scores has no language head of its own."""
    config, count = model.config, count_parameters(model.config)
    if model.score is None:
        return count
    untied = (
        0 if config.tie_word_embeddings else config.vocab_size * (config.embedding_size or config.hidden_size)
    )
    return count - untied + config.hidden_size


def _classifier_keys(architecture: str) -> dict[str, Any]:
    """What makes config.json one of a sequence classifier with one label, whose logit is the score."""
    stem = architecture.removesuffix("ForCausalLM").removesuffix("LMHeadModel")
    return {
        "architectures": [stem + _CLASSIFIER],
        "num_labels": 1,
        "id2label": {"0": "score"},
        "label2id": {"score": 0},
    }


def weights_by_hf_name(model: Transformer) -> dict[str, Tensor]:
    """The network's own tensors under Hugging Face's names: views, in the order of the layers, not copies."""
    views: dict[str, Tensor] = {}
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    for ours, (tensor_map, theirs) in tensor_sources(model.config, list(parameters)).items():
        parts = _rows(parameters[ours], tensor_map, model.config)
        for name, part in zip(theirs, parts, strict=True):
            views[name] = part.t() if tensor_map.transposed and part.dim() == 2 else part
    return views


class _Exporter:
    """Gives one tensor of the file by its name, cut out of ours."""

    def __init__(self, model: Transformer, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.views = weights_by_hf_name(model)

    def __call__(self, name: str) -> Tensor:
        return self.views[name].to(device="cpu", dtype=self.dtype, copy=True).contiguous()


def _exported(model: Transformer, dtype: torch.dtype) -> tuple[dict[str, int], _Exporter]:
    """Bytes of every tensor of the file, in the order of the layers, and the function that makes it."""
    exporter = _Exporter(model, dtype)
    return {name: view.numel() * dtype.itemsize for name, view in exporter.views.items()}, exporter
