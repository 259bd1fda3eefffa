"""Plain Hugging Face folders of models and adapters, for programs and sites that know nothing of Jielong."""

import shutil
from pathlib import Path
from typing import Any

from jielong.core.errors import JielongError
from jielong.core.files import find_model, folder_written_atomically, read_json, to_json, write_atomically
from jielong.core.model_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter, model_file
from jielong.generation.settings import read_generation_config
from jielong.models import load_model, save_model, write_lineage
from jielong.models.weights import INDEX, WEIGHTS
from jielong.tokenizer import Tokenizer

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
_TEXTS = ("README.md", "LICENSE")
_NETWORK = ("config.json", "generation_config.json", WEIGHTS, INDEX)
_ADAPTER = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "generation_config.json")
"""With `_TOKENIZER` and `_TEXTS`: what transformers, PEFT, vLLM and the Hub read; lineage, report cards and
the like stay behind."""


def copy_hf_folder(model: Path, path: Path) -> dict[str, Any]:
    """Copy a model folder's Hugging Face files, and only those, into a new folder.

    Of an adapter, the new folder holds the merged model, in the type of the base's weights, and since that is
    a model of its own, its lineage.

    Args:
        model: the model folder, or a run folder that holds one.
        path: the new folder.

    Returns:
        folder, files and bytes.

    Raises:
        JielongError: the new folder is not empty.
    """
    folder, path = find_model(Path(model)), Path(path)
    _require_empty(path)
    with folder_written_atomically(path) as aside:
        if is_adapter(folder):
            _merge(folder, aside)
        else:
            shards = sorted(file.name for file in folder.glob("model-*.safetensors"))
            _copy(folder, (*_NETWORK, *shards, *_TOKENIZER, *_TEXTS), aside)
    return _made(path)


def copy_peft_folder(model: Path, path: Path, base: str | None = None) -> dict[str, Any]:
    """Copy an adapter folder's PEFT files, and only those, into a new folder.

    Args:
        model: the adapter folder, or a run folder that holds one.
        path: the new folder.
        base: what to write as the base's place: its name on the Hub, or a path; None keeps what it says.

    Returns:
        folder, files and bytes.

    Raises:
        JielongError: the model is not an adapter, or the new folder is not empty.
    """
    folder, path = find_model(Path(model)), Path(path)
    if not is_adapter(folder):
        raise JielongError(f"{folder} is a whole model and not an adapter; use jielong export hf")
    _require_empty(path)
    with folder_written_atomically(path) as aside:
        _copy(folder, (*_ADAPTER, *_TOKENIZER, *_TEXTS), aside)
        if base is not None:
            config = {**read_json(folder / ADAPTER_CONFIG), "base_model_name_or_path": base}
            write_atomically(aside / ADAPTER_CONFIG, to_json(config))
    return _made(path)


def _merge(folder: Path, path: Path) -> None:
    """Write the network of an adapter folder as a model folder of its own."""
    entries = read_generation_config(folder)
    ids = {name: entries.pop(f"{name}_token_id", None) for name in ("bos", "eos", "pad")}
    eos = Tokenizer.load(folder).eos_id if ids["eos"] is None else ids["eos"]
    model = load_model(folder, dtype=None)
    save_model(model, path, bos_id=ids["bos"], eos_id=eos, pad_id=ids["pad"], generation=entries)
    for name in _TOKENIZER:
        file = model_file(folder, name)
        if file.is_file():
            shutil.copyfile(file, path / name)
    write_lineage(path, stage="merge_adapter", recipe={}, seed=0, parents=[folder])


def _copy(folder: Path, names: tuple[str, ...], path: Path) -> None:
    for name in names:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, path / name)


def _require_empty(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise JielongError(f"{path} exists already and is not empty; name a new folder")


def _made(path: Path) -> dict[str, Any]:
    files = [file for file in path.iterdir() if file.is_file()]
    return {"folder": str(path), "files": len(files), "bytes": sum(file.stat().st_size for file in files)}
