"""Short stories with a known summary and known answers."""

from dataclasses import dataclass
from random import Random

from jielong.world.content import load
from jielong.world.sentences import fill, join, sentence

_PRONOUNS = {
    ("zh", "m"): ("他", "他的", "他"),
    ("zh", "f"): ("她", "她的", "她"),
    ("en", "m"): ("he", "his", "him"),
    ("en", "f"): ("she", "her", "her"),
}


@dataclass(frozen=True)
class Story:
    """A story, its one-sentence summary, and (question, answer, words the answer must hold) triples."""

    text: str
    summary: str
    questions: list[tuple[str, str, str]]


def children(random: Random, language: str) -> dict[str, str]:
    """Slots of two children: $a, $b and their pronouns."""
    (a, gender_a), (b, gender_b) = random.sample(load("stories")["names"][language], 2)
    values = {"a": a, "b": b}
    for prefix, gender in (("", gender_a), ("b_", gender_b)):
        for slot, word in zip(("he", "his", "him"), _PRONOUNS[language, gender], strict=True):
            values[prefix + slot] = word
    return values


def choose_slots(
    random: Random, slots: dict[str, list[object]], pairs: list[str] | None = None
) -> dict[str, str]:
    """Choose a value for every slot; a list gives $slot, $slot_n, $slot_p; `pairs` are chosen together."""
    values: dict[str, str] = {}
    together = random.randrange(1 << 30)
    for name, options in slots.items():
        option = options[together % len(options)] if pairs and name in pairs else random.choice(options)
        forms = option if isinstance(option, list) else [option]
        for suffix, form in zip(("", "_n", "_p"), forms, strict=False):
            values[name + suffix] = str(form)
    return values


def make_story(random: Random, language: str) -> Story:
    """Make one story from a random plot."""
    plots = load("stories")
    plot = plots[random.choice([name for name in plots if name != "names"])][language]
    values = children(random, language) | choose_slots(random, plot["slots"], plot.get("pairs"))
    lines = [sentence(random.choice(beat), values, language) for beat in plot["beats"]]
    questions = [
        (sentence(question, values, language), sentence(answer, values, language), fill(key, values))
        for question, answer, key in plot["questions"]
    ]
    return Story(join(lines, language), sentence(plot["summary"], values, language), questions)
