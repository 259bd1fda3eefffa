"""A plain Hugging Face copy of a model folder, for programs and sites that know nothing of Jielong."""

import shutil
from pathlib import Path
from typing import Any

from jielong.core.errors import JielongError
from jielong.core.files import find_model, folder_written_atomically
from jielong.models.weights import INDEX, WEIGHTS

_FILES = (
    "config.json",
    "generation_config.json",
    WEIGHTS,
    INDEX,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "README.md",
    "LICENSE",
)
"""What transformers, vLLM and the Hub read; lineage, report cards and the like stay behind."""


def copy_hf_folder(model: Path, path: Path) -> dict[str, Any]:
    """Copy a model folder's Hugging Face files, and only those, into a new folder.

    Args:
        model: the model folder, or a run folder that holds one.
        path: the new folder.

    Returns:
        folder, files and bytes.

    Raises:
        JielongError: the new folder is not empty.
    """
    folder = find_model(Path(model))
    path = Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise JielongError(f"{path} exists already and is not empty; name a new folder")
    shards = [file.name for file in folder.glob("model-*.safetensors")]
    names = [name for name in (*_FILES, *sorted(shards)) if (folder / name).is_file()]
    with folder_written_atomically(path) as aside:
        for name in names:
            shutil.copyfile(folder / name, aside / name)
    size = sum((path / name).stat().st_size for name in names)
    return {"folder": str(path), "files": len(names), "bytes": size}
