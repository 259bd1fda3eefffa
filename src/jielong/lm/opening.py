"""A language model by one text: a folder, the name of a run, or the URL of a server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jielong.core.errors import UsageError
from jielong.core.files import find_model
from jielong.lm.cache import CachedModel, default_cache
from jielong.lm.protocol import LanguageModel
from jielong.lm.settings import RemoteSettings


def open_model(
    source: str | Path,
    *,
    weights: str = "float32",
    remote: RemoteSettings | None = None,
    cache: Path | Literal["default"] | None = "default",
) -> LanguageModel:
    """Open a language model.

    Args:
        source: a model folder or run folder; the name of a run in `runs`; or the base URL of an
            OpenAI-compatible server, with the model's name behind a `#` where it has several
            (`https://api.openai.com/v1#gpt-5-mini`). The key is read from the environment, see `remote`.
        weights: of a folder: float32, bfloat16, int8, int4 or auto.
        remote: how to speak to a server.
        cache: the file in which answers are kept; `default` is one in the user's cache folder, None keeps
            none.

    Raises:
        UsageError: nothing is there by that name, or the URL cannot be used.
        JielongError: the folder cannot be loaded.
    """
    url = isinstance(source, str) and "://" in source
    model = _remote(str(source), remote) if url else _local(Path(source), weights)
    if cache is None:
        return model
    return CachedModel(model, default_cache() if cache == "default" else cache)


def _remote(source: str, settings: RemoteSettings | None) -> LanguageModel:
    from jielong.lm.remote import RemoteModel

    url, _, name = source.partition("#")
    settings = settings or RemoteSettings()
    return RemoteModel(url, settings.model_copy(update={"model": name}) if name else settings)


def _local(path: Path, weights: str) -> LanguageModel:
    from jielong.generation import load_engine
    from jielong.lm.local import LocalModel
    from jielong.models.lineage import model_hash

    run = Path("runs") / path
    if not path.exists() and not run.exists():
        raise UsageError(
            f"there is no model {path}: name a model folder, a run in {run.parent.absolute()}, or the "
            "URL of a server"
        )
    folder = find_model(path if path.exists() else run)

    def identity() -> Mapping[str, Any]:
        return {"network": model_hash(folder), "weights": weights}

    return LocalModel(load_engine(folder, weights), str(path), identity)
