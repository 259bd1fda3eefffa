"""Write a model folder as one GGUF file, the format of llama.cpp and what is built on it.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file holds metadata (the shape, the
vocabulary, the chat template, sampling defaults) and tensors, each of its own type.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.core.errors import JielongError, UsageError
from jielong.core.files import find_model
from jielong.export.gguf_shape import check_shape, shape_metadata
from jielong.export.gguf_tensors import GGUFTensor, gguf_tensors
from jielong.export.gguf_vocabulary import vocabulary_metadata
from jielong.generation.settings import SamplingSettings
from jielong.models import load_config, load_model
from jielong.tokenizer import Tokenizer

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

GGUF_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
"""Types of the matrices that can be written, the most exact first."""
_BLOCK = 32
"""Weights that share a scale in the quantised types; a row must be a whole number of blocks."""
_STORED = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f32"}


def write_gguf(model: Path, path: Path | None = None, kind: str | None = None) -> dict[str, Any]:
    """Write a model folder as a GGUF file that llama.cpp opens.

    Vectors (norms, biases) stay float32, as in llama.cpp's own converter. In the types below 8 bits the
    embedding and the head have 8, because every logit passes through them.

    Args:
        model: the model folder, or a run folder that holds one.
        path: the file; by default NAME-TYPE.gguf in the current folder.
        kind: one of `GGUF_TYPES`; by default the type in which the weights are stored, so that nothing is
            lost.

    Returns:
        file, type, tensors and bytes.

    Raises:
        UsageError: an unknown type.
        JielongError: `gguf` is not installed, or llama.cpp cannot compute this network or cut text as this
            tokenizer does.
    """
    _require_gguf()
    folder = find_model(Path(model))
    config = load_config(folder)
    check_shape(config, str(folder))
    network = load_model(folder, dtype=None)
    kind = kind or _STORED[str(network.embed.weight.dtype).removeprefix("torch.")]
    if kind not in GGUF_TYPES:
        raise UsageError(f"GGUF type {kind!r} is not known; use {', '.join(GGUF_TYPES)}")
    path = path or Path(f"{model_name(Path(model))}-{kind}.gguf")
    metadata: dict[str, Any] = {"general.name": model_name(Path(model)), "general.type": "model"}
    metadata |= shape_metadata(config)
    metadata |= vocabulary_metadata(folder, Tokenizer.load(folder), config.vocab_size)
    metadata |= sampling_metadata(SamplingSettings.from_folder(folder))
    tensors = list(gguf_tensors(network))
    _write(path, metadata, tensors, kind)
    return {"file": str(path), "type": kind, "tensors": len(tensors), "bytes": path.stat().st_size}


def model_name(model: Path) -> str:
    """The name that a person knows a model by: its folder's, or its run's where the folder is `model`."""
    place = model.resolve()
    return place.parent.name if place.name == "model" else place.name


def sampling_metadata(settings: SamplingSettings) -> dict[str, Any]:
    """How the die is rolled unless the user says otherwise, under llama.cpp's names."""
    return {
        "general.sampling.temp": settings.temperature,
        "general.sampling.top_k": settings.top_k,
        "general.sampling.top_p": settings.top_p,
        "general.sampling.min_p": settings.min_p,
        "general.sampling.penalty_repeat": settings.repetition_penalty,
    }


def _require_gguf() -> None:
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise JielongError(
            "writing GGUF needs the package gguf; install it with: pip install 'jielong[export]'"
        ) from None


def _write(path: Path, metadata: Mapping[str, Any], tensors: list[GGUFTensor], kind: str) -> None:
    """Write beside the place and rename, one tensor in memory at a time."""
    import gguf
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    writer = gguf.GGUFWriter(aside, str(metadata["general.architecture"]))
    try:
        for key, value in metadata.items():
            if key != "general.architecture":  # which the writer has put first
                _add(writer, key, value)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        name = "ALL_F32" if kind == "f32" else f"MOSTLY_{kind.upper()}"
        writer.add_file_type(gguf.LlamaFileType[name])
        types = [_type_of(tensor, kind) for tensor in tensors]
        for tensor, type_ in zip(tensors, types, strict=True):
            block, size = gguf.GGML_QUANT_SIZES[type_]
            bytes_ = tensor.values.numel() // block * size
            writer.add_tensor_info(
                tensor.name, tuple(tensor.values.shape), np.dtype(np.float32), bytes_, type_
            )
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor, type_ in zip(tensors, types, strict=True):
            values = tensor.values.float().contiguous().numpy()
            writer.write_tensor_data(gguf.quants.quantize(values, type_))
        writer.close()
        aside.replace(path)
    except OSError as error:
        raise JielongError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        writer.close()
        aside.unlink(missing_ok=True)


def _add(writer: "GGUFWriter", key: str, value: Any) -> None:
    """One entry of the metadata; the type of the value is its type in the file."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _type_of(tensor: GGUFTensor, kind: str) -> "GGMLQuantizationType":
    """The type of one tensor in a file of this kind."""
    from gguf import GGMLQuantizationType

    if tensor.exact:
        return GGMLQuantizationType.F32
    quantised = kind.startswith("q")
    if quantised and tensor.values.shape[-1] % _BLOCK:
        return GGMLQuantizationType.F16
    if quantised and tensor.name in ("token_embd.weight", "output.weight"):
        return GGMLQuantizationType.Q8_0
    return GGMLQuantizationType[kind.upper()]
