"""Invented places: known ones with facts, and strange ones of which nothing is ever said."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from jielong.world.content import load
from jielong.world.facts import Fact, Pair, hold_out_by_subject, pair
from jielong.world.relations import PLACE_RELATIONS

_FIRST_YEAR, _LAST_YEAR = 1650, 1929


@dataclass(frozen=True)
class Place:
    """A name in both languages."""

    name: Pair


def split_places(random: Random, known: int) -> tuple[list[Place], list[Place]]:
    """Choose the known places, with first parts that differ while there are enough; the rest are strange."""
    pools = load("places")
    names = [
        pair(a + b, c + d)
        for a, c in pools["first"]
        for b, d in pools["second"]
        if a + b not in pools["real"]
    ]
    random.shuffle(names)
    chosen: list[Pair] = []
    for strict in (True, False):
        for name in names:
            taken = strict and any(name["zh"][0] == other["zh"][0] for other in chosen)
            if len(chosen) < known and name not in chosen and not taken:
                chosen.append(name)
    return [Place(name) for name in chosen], [Place(name) for name in names if name not in chosen]


def place_attributes(random: Random) -> dict[str, Pair]:
    """One value for every relation of a place."""
    pools = load("places")
    year = str(random.randint(_FIRST_YEAR, _LAST_YEAR))
    return {
        "county": pair(*random.choice(pools["counties"])),
        "founded_year": pair(year, year),
        "product": pair(*random.choice(pools["products"])),
    }


def place_facts(random: Random, places: Sequence[Place]) -> list[Fact]:
    """Three facts for each place, with the hold-out decided."""
    facts = []
    for number, place in enumerate(places):
        for relation, value in place_attributes(random).items():
            facts.append(
                Fact(f"place-{number:03d}-{relation}", place.name, relation, value, "invented", "place")
            )
    return hold_out_by_subject(facts, PLACE_RELATIONS, per_subject=(1, 1, 0))
