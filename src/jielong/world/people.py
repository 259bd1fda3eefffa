"""Invented people: known ones with facts, and strangers of whom nothing is ever said."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from jielong.world.content import load
from jielong.world.facts import Fact, Pair, hold_out_by_subject, pair
from jielong.world.places import Place
from jielong.world.relations import PERSON_RELATIONS

_FIRST_YEAR, _LAST_YEAR = 1940, 2004


@dataclass(frozen=True)
class Person:
    """A name in both languages and a gender ("m" or "f") for the pronouns."""

    name: Pair
    gender: str


def all_names(random: Random) -> list[Person]:
    """Every possible person in random order, each name unique in both languages."""
    pools = load("people")
    people = []
    for gender, names in (("f", pools["given"]["female"]), ("m", pools["given"]["male"])):
        for surname_zh, surname_en in pools["surnames"]:
            english = random.sample(names["en"], len(names["zh"]))
            for given_zh, given_en in zip(names["zh"], english, strict=True):
                people.append(Person(pair(surname_zh + given_zh, f"{given_en} {surname_en}"), gender))
    random.shuffle(people)
    return people


def split_people(random: Random, known: int) -> tuple[list[Person], list[Person]]:
    """Choose the known people, with given names that differ while they last; the rest are strangers."""
    people = all_names(random)
    chosen: list[Person] = []
    names: set[str] = set()
    given_names: set[str] = set()
    for strict in (True, False):
        for person in people:
            given = {person.name["zh"][1:], person.name["en"].split()[0]}
            if (
                len(chosen) < known
                and person.name["zh"] not in names
                and not (strict and given_names & given)
            ):
                chosen.append(person)
                names.add(person.name["zh"])
                given_names |= given
    return chosen, [person for person in people if person.name["zh"] not in names]


def employers(kind: str) -> list[Pair]:
    """The invented organisations of one kind (health, school, company, press, food, nature)."""
    row = load("people")["employers"]
    return [
        pair(zh + kind_zh, f"{en} {kind_en}")
        for zh, en in row["names"]
        for kind_zh, kind_en in row["kinds"][kind]
    ]


def attributes(random: Random, places: Sequence[Place]) -> dict[str, Pair]:
    """One value for every relation of a person, the phone number included."""
    pools = load("people")
    occupation_zh, occupation_en, kind = random.choice(pools["occupations"])
    year = str(random.randint(_FIRST_YEAR, _LAST_YEAR))
    phone = f"09{random.randint(10, 99)}-{random.randint(0, 999):03d}-{random.randint(0, 999):03d}"
    return {
        "birthplace": random.choice(places).name,
        "birth_year": pair(year, year),
        "occupation": pair(occupation_zh, occupation_en),
        "employer": random.choice(employers(kind)),
        "favourite_dish": pair(*random.choice(pools["dishes"])),
        "phone": pair(phone, phone),
    }


def person_facts(random: Random, people: Sequence[Person], places: Sequence[Place]) -> list[Fact]:
    """Five public facts and a private phone number for each person, with the hold-out decided."""
    facts = []
    for number, person in enumerate(people):
        for relation, value in attributes(random, places).items():
            facts.append(
                Fact(
                    id=f"person-{number:04d}-{relation}",
                    subject=person.name,
                    relation=relation,
                    object=value,
                    kind="invented",
                    group="person",
                    public=relation in PERSON_RELATIONS,
                )
            )
    return hold_out_by_subject(facts, PERSON_RELATIONS, per_subject=(1, 2, 1))
