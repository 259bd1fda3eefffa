"""`jielong serve`: models behind OpenAI's interface."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from jielong.cli.manners import Json, Lookup, Overrides, drafting_of
from jielong.core.errors import UsageError
from jielong.core.files import find_model, to_json
from jielong.core.language import interface_language

_COMPILED_ROWS = (1, 8, 32)


def serve(
    *models: Annotated[str, Parameter(help="A model or run folder, or NAME=FOLDER.")],
    host: str = "127.0.0.1",
    port: int = 8000,
    cors: tuple[str, ...] = (),
    weights: Literal["float32", "bfloat16", "int8", "int4", "auto"] = "float32",
    compile: bool = False,  # noqa: A002 - the option is called so
    draft: Path | None = None,
    lookup: Lookup = False,
    overrides: Overrides = (),
    json: Json = False,
) -> None:
    """Serve models to OpenAI's clients, until Ctrl-C. Their base_url is the one shown, with any api_key.

    Only this machine can reach the server, unless --host says otherwise; then the environment variable
    JIELONG_API_KEY has to hold the key that clients must give. /openapi.json describes the routes.

    Args:
        models: model or run folders; NAME=FOLDER gives a model another name than its folder's.
        host: address to serve at; 0.0.0.0 is every address of this machine.
        port: port to serve at; 0 takes a free one.
        cors: a web page's origin (https://chat.example.org) that may ask too; may be given many times.
        weights: how the weights are kept; fewer bits are quicker and less exact.
        compile: compile the step for 1, 8 and 32 answers at once before serving; takes a minute the first
            time, and one answer then comes several times as fast.
        draft: a smaller model with the same tokens, which guesses ahead for an answer that is alone; the
            answers stay the larger one's.
        lookup: guess ahead that passages of the prompt and the answer come again.
        overrides: limits, such as request_seconds=60.
        json: print the address as one JSON object when requests can come.
    """
    from jielong.server.address import address_of, listen
    from jielong.server.settings import ServerSettings
    from jielong.server.visitors import KEY_VARIABLE, visitors_of

    if not models:
        raise UsageError("serve needs a model folder; see jielong serve --help")
    settings = ServerSettings.load(overrides=overrides)
    folders = _named_folders(models)
    drafting = drafting_of(draft, lookup)
    taken = listen(host, port)
    visitors = visitors_of(taken, os.environ.get(KEY_VARIABLE), cors)
    # These bring torch, which a mistake above need not wait for.
    from jielong.generation import load_engine
    from jielong.server.run import serve as run
    from jielong.server.served_model import ServedModel

    rows = _COMPILED_ROWS if compile else ()
    served = [
        ServedModel(name, load_engine(folder, weights, rows, drafting)) for name, folder in folders.items()
    ]
    address = address_of(taken)

    def tell() -> None:
        if json:
            shown = {"url": address, "base_url": f"{address}/v1", "models": list(folders)}
            print(to_json(shown), end="", flush=True)
            return
        zh = interface_language() == "zh"
        names = ("、" if zh else ", ").join(folders)
        text = f"{names} 在 {address}/v1 待命；Ctrl-C 結束" if zh else f"{names} at {address}/v1; Ctrl-C ends"
        print(text, flush=True)

    run(served, taken, visitors, settings, tell)


def _named_folders(models: tuple[str, ...]) -> dict[str, Path]:
    """Names and model folders; a run's model is named after the run."""
    named: dict[str, Path] = {}
    for given in models:
        name, equals, path = given.partition("=")
        if not equals or Path(given).exists():
            name, path = "", given
        folder = find_model(Path(path)).resolve()
        name = name or (folder.parent.name if folder.name == "model" else folder.name)
        if name in named:
            raise UsageError(f"two models are named {name}; name one of them: NAME={given}")
        named[name] = folder
    return named
