"""Make a world folder: the same seed and size give the same bytes on every machine."""

from collections import Counter
from pathlib import Path
from typing import Any

from jielong.core.files import folder_written_atomically, to_json, to_jsonl
from jielong.world.cast import Cast, make_cast
from jielong.world.exams import exams
from jielong.world.instructions import conversations
from jielong.world.pretraining import held_out_pages, pages, records

VERSION = 1
_HELD_OUT_SHARE = 0.02


def make_world(directory: Path, size: str, seed: int) -> dict[str, Any]:
    """Write a world of known truth into a folder.

    Args:
        directory: the folder to write; an older world there is replaced at the end.
        size: "tiny" (tests), "small" (the quickstart) or "medium" (a GPU).
        seed: any whole number.

    Returns:
        The content of world.json: size, seed, version and counts.

    Raises:
        UsageError: for an unknown size.
    """
    cast = make_cast(size, seed)
    instructions = conversations(cast)
    asked = {
        message["content"] for row in instructions for message in row["messages"] if message["role"] == "user"
    }
    text, held_out = _pretraining(cast)
    files: dict[str, list[dict[str, Any]]] = {
        "facts": [fact.record() for fact in cast.facts],
        "pretrain": text,
        "pretrain_heldout": held_out,
        "instructions": instructions,
        "exams": exams(cast, asked),
    }
    summary = {"size": size, "seed": seed, "version": VERSION, "counts": _counts(files)}
    with folder_written_atomically(directory) as folder:
        for name, rows in files.items():
            (folder / f"{name}.jsonl").write_text(to_jsonl(rows), "utf-8", newline="\n")
        (folder / "world.json").write_text(to_json(summary), "utf-8", newline="\n")
    return summary


def _pretraining(cast: Cast) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the training text and of the held-out text, which repeats none of its documents."""
    subjects = cast.subjects()
    material = (cast.problems, cast.strangers["passers_by"], cast.places, cast.unseen_pair)
    text = pages(cast.random("pretrain"), subjects, cast.size.rounds, *material)
    fewer = max(1, cast.size.rounds // 8)
    other = pages(cast.random("pretrain heldout"), subjects, fewer, *material)
    wanted = _HELD_OUT_SHARE * sum(len(page.text) for page in text)
    held_out = held_out_pages(cast.random("heldout choice"), other, text, wanted)
    return records(text, "text"), records(held_out, "heldout")


def _counts(files: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    facts = files["facts"]
    text = files["pretrain"]
    return {
        **{name: len(rows) for name, rows in files.items()},
        "true_facts": sum(fact["kind"] == "true" for fact in facts),
        "facts_taught": sum(fact["in_sft"] for fact in facts),
        "facts_heldout": sum(fact["public"] and not fact["in_sft"] for fact in facts),
        "pretrain_characters": sum(len(row["text"]) for row in text),
        "instructions_by_skill": dict(sorted(Counter(row["skill"] for row in files["instructions"]).items())),
        "exams_by_skill": dict(
            sorted(Counter(f"{row['skill']} {row['form']}" for row in files["exams"]).items())
        ),
    }
