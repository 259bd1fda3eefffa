"""A folder that `ollama create` turns into a model: the GGUF file and its Modelfile."""

from pathlib import Path
from typing import Any

from jielong.core.errors import JielongError
from jielong.core.files import find_model, folder_written_atomically, write_atomically
from jielong.export.gguf_file import model_name, write_gguf
from jielong.export.gguf_shape import shape_metadata
from jielong.export.go_template import go_template
from jielong.generation.settings import SamplingSettings, end_token_ids
from jielong.models import load_config
from jielong.tokenizer import Tokenizer

MODELFILE = "Modelfile"
_WEIGHTS = "model.gguf"


def write_ollama_folder(model: Path, path: Path | None = None, kind: str | None = None) -> dict[str, Any]:
    """Write a folder for Ollama: model.gguf, and a Modelfile with template, stop tokens and sampling.

    Args:
        model: the model folder, or a run folder that holds one.
        path: the folder; by default NAME-ollama in the current folder.
        kind: type of the weights, as in `write_gguf`.

    Returns:
        folder, type, tensors and bytes of the GGUF file, and the command that makes the model.

    Raises:
        JielongError: as `write_gguf`, and when the folder holds something else or the chat template cannot be
            written as Ollama's.
    """
    folder = find_model(Path(model))
    name = model_name(Path(model))
    path = path or Path(f"{name}-ollama")
    if path.exists() and not (path / MODELFILE).is_file():
        raise JielongError(f"{path} exists and is no folder that this command made; name another one")
    modelfile = modelfile_text(folder)
    with folder_written_atomically(path) as aside:
        made = write_gguf(model, aside / _WEIGHTS, kind)
        write_atomically(aside / MODELFILE, modelfile)
    command = f"ollama create {name.lower()} -f {path / MODELFILE}"
    return {**made, "file": str(path / _WEIGHTS), "folder": str(path), "next": command}


def modelfile_text(folder: Path) -> str:
    """The Modelfile of a model folder (https://docs.ollama.com/modelfile).

    Every sampling setting is stated, since Ollama's own defaults (top_k 40, top_p 0.9) are not the model's.
    """
    tokenizer = Tokenizer.load(folder)
    settings = SamplingSettings.from_folder(folder)
    shape = shape_metadata(load_config(folder))
    context = next(value for key, value in shape.items() if key.endswith(".context_length"))
    ends = sorted({tokenizer.eos_id, *end_token_ids(folder)})
    texts = [tokenizer.token_bytes(token).decode() for token in ends]
    parameters = [
        *(("stop", _quoted(text)) for text in (*texts, *settings.stop)),
        ("temperature", settings.temperature),
        ("top_k", settings.top_k),
        ("top_p", settings.top_p),
        ("min_p", settings.min_p),
        ("repeat_penalty", settings.repetition_penalty),
        ("num_predict", settings.max_tokens),
        ("num_ctx", context),
    ]
    lines = [f"FROM ./{_WEIGHTS}", f'TEMPLATE """{go_template(tokenizer, str(folder))}"""']
    lines += [f"PARAMETER {key} {value}" for key, value in parameters]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A text as a Modelfile has it: without escapes, in three quotation marks where it holds one."""
    return f'"""{text}"""' if '"' in text else f'"{text}"'
