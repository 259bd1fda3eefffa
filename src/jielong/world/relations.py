"""How a relation is stated, asked and answered in each language (the sentences live in `world/data`)."""

import re
from dataclasses import dataclass
from typing import Any

from jielong.world.content import load
from jielong.world.facts import Fact
from jielong.world.sentences import fill, sentence, space

_FILES = {"person": "people_relations", "place": "place_relations", "true": "true_relations"}
PERSON_RELATIONS = ("birthplace", "birth_year", "occupation", "employer", "favourite_dish")
PLACE_RELATIONS = ("county", "founded_year", "product")
PRONOUNS = {
    ("zh", "m"): {"he": "他", "his": "他的"},
    ("zh", "f"): {"he": "她", "his": "她的"},
    ("en", "m"): {"he": "he", "his": "his"},
    ("en", "f"): {"he": "she", "his": "her"},
}


@dataclass(frozen=True)
class Wording:
    """The templates of one relation in one language; slots: $s subject, $o object, $u the object's unit."""

    statements: list[str]
    questions: list[str]
    answers: list[str]
    clause: str
    heading: str
    title: str
    item: str


def wording(fact: Fact, language: str) -> Wording:
    """The templates for a fact's relation."""
    relations: Any = load(_FILES[fact.group])
    if fact.relation not in relations:
        relations = load("science_facts")
    row = relations[fact.relation][language]
    return Wording(
        statements=row["statements"],
        questions=row["questions"],
        answers=row["answers"],
        clause=row["clause"],
        heading=row.get("heading", fact.subject[language]),
        title=row.get("title", ""),
        item=row.get("item", ""),
    )


def slots(fact: Fact, language: str) -> dict[str, str]:
    """The values of a fact's slots."""
    text = fact.object[language]
    return {"s": fact.subject[language], "o": text, "u": re.sub(r"^[\d ]+", "", text)}


def say(template: str, fact: Fact, language: str) -> str:
    """Fill a relation's template with a fact, as a finished sentence."""
    return sentence(template, slots(fact, language), language)


def clause(fact: Fact, language: str) -> str:
    """The question about a fact as part of a sentence: "where Iris Lin was born"."""
    return _phrase(wording(fact, language).clause, fact, language)


def heading(fact: Fact, language: str) -> str:
    """What a fact is about, without saying it: "the birthplace of Iris Lin"."""
    return _phrase(wording(fact, language).heading, fact, language)


def _phrase(template: str, fact: Fact, language: str) -> str:
    text = fill(template, slots(fact, language))
    return space(text) if language == "zh" else text


def with_pronoun(template: str, language: str, gender: str) -> str:
    """The template with its leading subject as a pronoun; unchanged when that would not read well."""
    if template.count("$s") != 1 or not template.startswith("$s"):
        return template
    words = PRONOUNS[language, gender]
    if language == "zh":
        return words["he"] + template.removeprefix("$s")
    if template.startswith("$s's "):
        return words["his"].capitalize() + template.removeprefix("$s's")
    return words["he"].capitalize() + template.removeprefix("$s")


def question_with_pronoun(template: str, language: str, gender: str) -> str | None:
    """A follow-up question that speaks of "he" or "she", or None when the template does not allow it."""
    words = PRONOUNS[language, gender]
    if template.count("$s") != 1 or re.search(r"(of|employs|請問) ?\$s", template):
        return None
    if language == "zh":
        return "那" + template.replace("$s", words["he"]) if template.startswith("$s") else None
    question = template.replace("$s's", words["his"]).replace("$s", words["he"])
    return "And " + question[0].lower() + question[1:]
