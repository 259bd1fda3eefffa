"""Facts as records, and which of them the instructions may ask."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from jielong.world.content import load

Pair = dict[str, str]
"""A name or phrase in both languages: {"zh": ..., "en": ...}."""


@dataclass(frozen=True)
class Fact:
    """One statement that is true in this world."""

    id: str
    subject: Pair
    relation: str
    object: Pair
    kind: str
    """"true" (a fact of the real world) or "invented"."""
    group: str
    """"person", "place" or "true": which file holds the relation's sentences."""
    public: bool = True
    in_sft: bool = True
    """Whether the instructions may ask about it; a fact that is held out is only stated, in pretraining."""
    also: tuple[str, ...] = field(default=())
    """Further accepted forms of the object, in either language."""

    def record(self) -> dict[str, Any]:
        """The row of facts.jsonl."""
        return {
            "id": self.id,
            "subject": self.subject,
            "relation": self.relation,
            "object": self.object,
            "languages": ["zh", "en"],
            "kind": self.kind,
            "public": self.public,
            "in_pretraining": self.public,
            "in_sft": self.in_sft and self.public,
        }


def pair(zh: str, en: str) -> Pair:
    """A phrase in both languages."""
    return {"zh": zh, "en": en}


def true_facts(random: Random, held_out: float = 0.35) -> list[Fact]:
    """The hand-written facts; the given share of each relation is held out of the instructions."""
    facts: list[Fact] = []
    for relation, rows in load("true_facts").items():
        held = set(random.sample(range(len(rows)), round(held_out * len(rows))))
        for number, (subject_zh, subject_en, object_zh, object_en, *also) in enumerate(rows):
            facts.append(
                Fact(
                    id=f"{relation}-{number:02d}",
                    subject=pair(subject_zh, subject_en),
                    relation=relation,
                    object=pair(object_zh, object_en),
                    kind="true",
                    group="true",
                    in_sft=number not in held,
                    also=tuple(also[0]) if also else (),
                )
            )
    for relation, row in load("science_facts").items():
        also = tuple(row.get("also", ()))
        facts.append(
            Fact(
                f"science-{relation}",
                pair(*row["subject"]),
                relation,
                pair(*row["object"]),
                "true",
                "true",
                also=also,
            )
        )
    return facts


def hold_out_by_subject(
    facts: Sequence[Fact], relations: Sequence[str], per_subject: Sequence[int]
) -> list[Fact]:
    """Hold some public facts of each subject out of the instructions.

    Every thirtieth subject is held out entirely. The others have `per_subject` relations held out (the
    numbers are used in turn), and the relations take turns, so that each keeps many facts that are asked.
    """
    subjects = list(dict.fromkeys(fact.subject["zh"] for fact in facts))
    held: dict[str, list[str]] = {}
    turn = 0
    for number, subject in enumerate(subjects):
        if number % 30 == 3:
            held[subject] = list(relations)
            continue
        count = per_subject[number % len(per_subject)]
        held[subject] = [relations[(turn + step) % len(relations)] for step in range(count)]
        turn += count
    return [
        replace(fact, in_sft=fact.public and fact.relation not in held[fact.subject["zh"]]) for fact in facts
    ]
