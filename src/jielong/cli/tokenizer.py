"""`jielong tokenizer`: train one, or look at how one cuts a text."""

import sys
from pathlib import Path

from cyclopts import App

from jielong.cli.manners import Json, Model, print_result
from jielong.core.files import to_json

app = App(name="tokenizer", help_format="plaintext", help="Train a tokenizer, or show how one cuts a text.")


@app.command
def train(out: Path, data: tuple[str, ...], /, *, vocab_size: int = 4096, json: Json = False) -> None:
    """Train a byte-level BPE tokenizer on text; of much text, on an even sample.

    Args:
        out: folder for tokenizer.json, tokenizer_config.json and chat_template.jinja.
        data: files, folders or globs of documents.
        vocab_size: tokens, the 256 bytes and the special tokens among them.
        json: print the result as JSON.
    """
    from jielong.core.progress import console
    from jielong.data import Document, Problems, Survey, read_documents, require_some
    from jielong.tokenizer import ENOUGH_CHARACTERS, train_tokenizer

    problems = Problems()
    survey: Survey[Document] = Survey(0, ENOUGH_CHARACTERS)
    for document in read_documents(data, problems):
        survey.add(document)
    require_some(survey.documents, problems, f"documents in {', '.join(data)}")
    for line in problems.lines():
        console().print(line)
    sample = survey.sample(survey.split())
    tokenizer = train_tokenizer((document.text for document in sample), vocab_size)
    tokenizer.save(out)
    made = {"tokenizer": str(out), "vocab_size": tokenizer.vocab_size, "documents": survey.documents}
    print_result(made, json)


@app.command
def show(model: Model, text: str, /, *, json: Json = False) -> None:
    """Colour the tokens of a text and print bytes per token by language.

    Args:
        model: a model folder, or a folder with a tokenizer.json.
        text: the text; - reads standard input.
        json: print the tokens as JSON.
    """
    from rich.console import Console

    from jielong.tokenizer import Tokenizer, bytes_per_token
    from jielong.tokenizer import show as coloured

    inside_run = model / "model" / "tokenizer.json"
    tokenizer = Tokenizer.load(inside_run.parent if inside_run.exists() else model)
    shown = sys.stdin.read() if text == "-" else text
    ids = tokenizer.encode(shown)
    rates = bytes_per_token(tokenizer, [shown])
    if json:
        pieces = [(token, tokenizer.token_bytes(token)) for token in ids]
        tokens = [
            {"id": token, "text": piece.decode("utf-8", "replace"), "bytes": piece.hex()}
            for token, piece in pieces
        ]
        print(to_json({"tokens": tokens, "bytes_per_token": rates}), end="")
        return
    console = Console(highlight=False)
    console.print(coloured(tokenizer, shown))
    print_result(
        {"tokens": len(ids), **{f"bytes per token, {lang}": rate for lang, rate in rates.items()}}, False
    )
