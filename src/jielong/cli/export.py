"""`jielong export`: model folders for other programs."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from jielong.cli.manners import Json, Model, print_result

app = App(
    name="export",
    help_format="plaintext",
    help="Write a model for other programs: GGUF (llama.cpp), Ollama, plain Hugging Face, PEFT.",
)
Out = Annotated[Path | None, Parameter(name=("--out", "-o"))]
Type = Annotated[str | None, Parameter(name="--type")]


@app.command
def gguf(model: Model, /, *, out: Out = None, kind: Type = None, json: Json = False) -> None:
    """Write one GGUF file, which llama.cpp, LM Studio, Jan and others open.

    Args:
        model: the model folder.
        out: the file; by default NAME-TYPE.gguf in the current folder.
        kind: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0; by default the type the weights are stored in.
        json: print the result as JSON.
    """
    from jielong.export import write_gguf

    print_result(write_gguf(model, out, kind), json)


@app.command
def ollama(model: Model, /, *, out: Out = None, kind: Type = None, json: Json = False) -> None:
    """Write a folder with a GGUF file and a Modelfile: chat template, stop tokens and sampling defaults.

    Args:
        model: the model folder.
        out: the folder; by default NAME-ollama in the current folder.
        kind: f32, f16, bf16, q8_0, q5_1, q5_0, q4_1 or q4_0; by default the type the weights are stored in.
        json: print the result as JSON.
    """
    from jielong.export import write_ollama_folder

    print_result(write_ollama_folder(model, out, kind), json)


@app.command
def hf(model: Model, /, *, out: Annotated[Path, Parameter(name=("--out", "-o"))], json: Json = False) -> None:
    """Copy the Hugging Face files of a model, and nothing else, into a new folder; an adapter is merged.

    Args:
        model: the model folder, or an adapter folder.
        out: the new folder.
        json: print the result as JSON.
    """
    from jielong.export import copy_hf_folder

    print_result(copy_hf_folder(model, out), json)


@app.command
def peft(
    model: Model,
    /,
    *,
    out: Annotated[Path, Parameter(name=("--out", "-o"))],
    base: str | None = None,
    json: Json = False,
) -> None:
    """Copy the PEFT files of an adapter, and nothing else, into a new folder.

    Args:
        model: the adapter folder.
        out: the new folder.
        base: the base's name on the Hub, or its path, to write in place of the path here.
        json: print the result as JSON.
    """
    from jielong.export import copy_peft_folder

    print_result(copy_peft_folder(model, out, base), json)
