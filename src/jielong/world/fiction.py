"""Made-up countries, books and animals for reading exercises: what is asked can only be found in the text."""

from random import Random

from jielong.world.content import load
from jielong.world.facts import Fact, Pair
from jielong.world.sentences import fill

RELATIONS = (
    "capital",
    "currency",
    "author",
    "old_name",
    "highest_mountain",
    "longest_river",
    "largest_lake",
    "landmark_city",
    "symbol",
    "animal_class",
    "planet_order",
)
"""Relations of the true facts that made-up subjects can have too."""


def fictional_facts(random: Random, language: str, count: int) -> list[Fact]:
    """Facts of one relation about different made-up subjects, in one language."""
    relation = random.choice(RELATIONS)
    forms = load("fiction")["relations"][relation][language]
    facts: dict[str, Fact] = {}
    while len(facts) < count:
        names = [_name(random, random.choice(forms[part]), language) for part in ("subject", "object")]
        facts[names[0]] = Fact("", _both(names[0]), relation, _both(names[1]), "invented", "true")
    return list(facts.values())


def _name(random: Random, form: str, language: str) -> str:
    """A form with its slots filled: $r and $p made-up words, $l two letters; plain forms stay as they are."""
    letters = random.choice("BCDGJKLMQRTVXZ") + random.choice("abdefghijklmopqrsuvwxyz")
    subject, obj = _word(random, language), _word(random, language)
    endings = {
        "r_ia": f"{subject}ia",
        "r_land": f"{subject}land",
        "r_town": f"{subject}town",
        "p_field": f"{obj}field",
    }
    return fill(form, {"r": subject, "p": obj, "l": letters, **endings})


def _word(random: Random, language: str) -> str:
    words: dict[str, list[str]] = load("fiction")["words"]
    if language == "zh":
        return "".join(random.sample(words["characters"], 2))
    first, second = random.sample(words["syllables"], 2)
    return (first + random.choice("aeiou") + second).capitalize()


def _both(text: str) -> Pair:
    return {"zh": text, "en": text}
