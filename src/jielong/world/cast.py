"""What a world is made of before any text: sizes, people, places, facts, what is kept for the exam."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from jielong.core.errors import UsageError
from jielong.world.arithmetic import Problem, split_problems
from jielong.world.fact_text import Subject
from jielong.world.facts import Fact, Pair, true_facts
from jielong.world.parallel import make_pair
from jielong.world.people import Person, person_facts, split_people
from jielong.world.places import Place, place_facts, split_places
from jielong.world.sentences import random_for


@dataclass(frozen=True)
class Size:
    """How large a world is. Counts of strangers and items are per language."""

    people: int
    places: int
    rounds: int
    """About how often each fact is stated in each language of the pretraining text."""
    phrasings: int
    """How many of a taught fact's questions the instructions ask."""
    strangers: int
    strange_places: int
    scale: float
    """Number of the other instructions, beside the small world's."""
    exam: float
    """Length of the exam, beside the small world's."""


SIZES = {
    "tiny": Size(15, 8, 6, 1, 50, 12, 0.12, 0.25),
    "small": Size(60, 16, 46, 4, 440, 60, 1.0, 1.0),
    "medium": Size(700, 80, 66, 5, 2000, 70, 10.0, 2.0),
}


@dataclass(frozen=True)
class Cast:
    """The people, places and facts of one world and what its exam keeps for itself."""

    seed: int
    size: Size
    people: list[Person]
    places: list[Place]
    facts: list[Fact]
    strangers: dict[str, list[Person]]
    """By use: "taught" (instructions), "exam", "reading", "reading_exam" and "passers_by" (pretraining)."""
    strange_places: dict[str, list[Place]]
    problems: list[Problem]
    exam_problems: list[Problem]
    exam_pairs: list[Pair]

    @property
    def public(self) -> list[Fact]:
        """The facts that the pretraining text states."""
        return [fact for fact in self.facts if fact.public]

    @property
    def familiar(self) -> list[Person]:
        """Known people about whom the instructions ask something."""
        taught = {fact.subject["zh"] for fact in self.facts if fact.in_sft and fact.public}
        return [person for person in self.people if person.name["zh"] in taught]

    def random(self, purpose: str) -> Random:
        """The generator of one part of this world."""
        return random_for(self.seed, purpose)

    def subjects(self) -> list[Subject]:
        """The public facts by subject; a true fact stands alone."""
        genders = {person.name["zh"]: person.gender for person in self.people}
        by_name: dict[str, list[Fact]] = {}
        for fact in self.public:
            key = fact.id if fact.kind == "true" else fact.subject["zh"]
            by_name.setdefault(key, []).append(fact)
        return [Subject(facts, genders.get(name)) for name, facts in by_name.items()]

    def unseen_pair(self, random: Random) -> Pair:
        """A translated sentence that the exam does not keep for itself."""
        while (result := make_pair(random)) in self.exam_pairs:
            pass
        return result


def make_cast(size: str, seed: int) -> Cast:
    """Choose the people, places, facts and exam material of a world.

    Raises:
        UsageError: for an unknown size.
    """
    if size not in SIZES:
        raise UsageError(f"unknown world size {size!r}; known sizes: {', '.join(SIZES)}")
    chosen = SIZES[size]
    places, strange_places = split_places(random_for(seed, "places"), chosen.places)
    people, strangers = split_people(random_for(seed, "people"), chosen.people)
    facts = true_facts(random_for(seed, "true facts"))
    facts += person_facts(random_for(seed, "person facts"), people, places)
    facts += place_facts(random_for(seed, "place facts"), places)
    problems, exam_problems = split_problems(random_for(seed, "problems"))
    exam_strangers = round(80 * chosen.exam)
    reading = round(200 * chosen.scale) if size != "medium" else 900
    people_by_use = _split(
        strangers,
        {
            "taught": chosen.strangers,
            "exam": exam_strangers,
            "reading_exam": exam_strangers,
            "reading": reading,
            "passers_by": len(strangers),
        },
    )
    places_by_use = _split(
        strange_places, {"exam": max(6, round(16 * chosen.exam)), "taught": chosen.strange_places}
    )
    return Cast(
        seed=seed,
        size=chosen,
        people=people,
        places=places,
        facts=facts,
        strangers=people_by_use,
        strange_places=places_by_use,
        problems=problems,
        exam_problems=exam_problems,
        exam_pairs=_exam_pairs(random_for(seed, "exam pairs"), round(60 * chosen.exam)),
    )


_T = TypeVar("_T")


def _split(members: Sequence[_T], counts: dict[str, int]) -> dict[str, list[_T]]:
    start = 0
    result: dict[str, list[_T]] = {}
    for use, count in counts.items():
        result[use] = list(members[start : start + count])
        start += count
    return result


def _exam_pairs(random: Random, count: int) -> list[Pair]:
    pairs: list[Pair] = []
    while len(pairs) < count:
        candidate = make_pair(random)
        if candidate not in pairs:
            pairs.append(candidate)
    return pairs
