"""`jielong chat` and `jielong complete`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jielong.cli.manners import Json, Lookup, Model, drafting_of, printable
from jielong.core.errors import UsageError
from jielong.core.files import find_model, read_json, to_json

if TYPE_CHECKING:
    from jielong.generation import Engine, Grammar


def chat(
    model: Model,
    *,
    system: str | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    draft: Path | None = None,
    lookup: Lookup = False,
    best_of: int = 1,
    teacher: Path | None = None,
    lang: Literal["zh", "en"] | None = None,
) -> None:
    """Talk with a model. /help inside the chat lists what it can do.

    Args:
        model: the model folder.
        system: a system message to begin with.
        temperature: 0 always takes the likeliest token; higher rolls a wilder die.
        top_p: sample from the likeliest tokens that together have this probability.
        max_tokens: longest answer.
        seed: seed of the die.
        draft: a smaller model with the same tokens, which guesses ahead; the answers stay the larger one's.
        lookup: guess ahead that passages of the conversation come again.
        best_of: answer so often, and show the answer that the teacher likes best; /why shows all.
        teacher: a reward model for best_of; by default the one beside the model's run.
        lang: language of the interface; by default your locale's.
    """
    from jielong.cli.chat_session import run_chat

    given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "seed": seed}
    folder = find_model(model)
    liked = _teacher_of(folder, teacher) if best_of > 1 else None
    drafting = drafting_of(draft, lookup)
    run_chat(
        folder, _given(given), system=system, lang=lang, drafting=drafting, teacher=liked, samples=best_of
    )


def complete(
    model: Model,
    text: str,
    *,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    json_schema: Path | None = None,
    regex: str | None = None,
    draft: Path | None = None,
    lookup: Lookup = False,
    json: Json = False,
) -> None:
    """Let a model continue a text, token by token.

    Args:
        model: the model folder.
        text: the beginning; - reads standard input.
        temperature: 0 always takes the likeliest token.
        top_k: sample from the k likeliest tokens.
        top_p: sample from the likeliest tokens that together have this probability.
        min_p: leave out tokens below this share of the likeliest one's probability.
        repetition_penalty: above 1 makes tokens that were there before less likely.
        max_tokens: how far to go on.
        seed: seed of the die.
        json_schema: file with a JSON schema that the continuation has to fit.
        regex: regular expression that the whole continuation has to match.
        draft: a smaller model with the same tokens, which guesses ahead; the text stays the larger one's.
        lookup: guess ahead that passages of the text come again.
        json: print the continuation as JSON.
    """
    from jielong.generation import SamplingSettings, load_engine
    from jielong.generation import complete as stream

    folder: Path = find_model(model)
    given = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip
    settings = SamplingSettings.parse({**SamplingSettings.from_folder(folder).model_dump(), **_given(given)})
    drafting = drafting_of(draft, lookup)
    beginning = sys.stdin.read() if text == "-" else text
    engine = load_engine(folder, drafting=drafting)
    grammar = _grammar(engine, json_schema, regex)
    pieces = []
    for step in stream(engine, beginning, settings, grammar):
        pieces.append(step.text)
        if not json:
            print((beginning if len(pieces) == 1 else "") + printable(step.text), end="", flush=True)
    print(to_json({"prompt": beginning, "text": "".join(pieces), "tokens": len(pieces)}) if json else "")


def _grammar(engine: "Engine", json_schema: Path | None, regex: str | None) -> "Grammar | None":
    from jielong.generation.grammar import json_schema_grammar, regex_grammar

    if json_schema is not None and regex is not None:
        raise UsageError(
            "--json-schema and --regex both say what the text has to look like; give one of them"
        )
    if json_schema is not None:
        return json_schema_grammar(engine.tokenizer, engine.end_ids, read_json(json_schema))
    return None if regex is None else regex_grammar(engine.tokenizer, engine.end_ids, regex)


def _teacher_of(folder: Path, given: Path | None) -> Path:
    """The reward model that was named, or that a quickstart put beside the model's run."""
    path = given or folder.resolve().parent.parent / "reward"
    if given is None and not path.is_dir():
        raise UsageError(f"--best-of needs --teacher, a reward model: there is none in {path}")
    return find_model(path)


def _given(values: dict[str, float | int | None]) -> dict[str, float | int]:
    return {name: value for name, value in values.items() if value is not None}
