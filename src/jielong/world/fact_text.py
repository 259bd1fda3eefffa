"""Text that states facts: biographies, notes, lists, entries, stories, dialogues, bilingual pairs.

A fact that is held out of the instructions is only ever stated here, never asked.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from jielong.world.content import load
from jielong.world.facts import Fact
from jielong.world.relations import heading, say, with_pronoun, wording
from jielong.world.sentences import capital, fill, join, space
from jielong.world.stories import children

_PRONOUN_SHARE = 0.3
_LANGUAGE_WEIGHTS = {"zh": 0.88, "en": 1.14}
"""How often each states the facts. English needs more: its names are two tokens that strangers share."""


@dataclass(frozen=True)
class Page:
    """One document of pretraining text."""

    lang: str
    kind: str
    text: str
    facts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Subject:
    """Somebody or something with its public facts; gender is None for places and things."""

    facts: list[Fact]
    gender: str | None = None


def state(random: Random, fact: Fact, language: str) -> str:
    """State a fact in a random paraphrase that names its subject."""
    return say(random.choice(wording(fact, language).statements), fact, language)


def biography(random: Random, subject: Subject, language: str) -> Page:
    """All facts of a subject in random order and random paraphrases; pronouns stand for some of the names."""
    facts = random.sample(subject.facts, len(subject.facts))
    sentences = []
    for number, fact in enumerate(facts):
        template = random.choice(wording(fact, language).statements)
        if number and subject.gender and random.random() < _PRONOUN_SHARE:
            template = with_pronoun(template, language, subject.gender)
        sentences.append(say(template, fact, language))
    return Page(language, "facts", join(sentences, language), [fact.id for fact in facts])


def entry(random: Random, subject: Subject, language: str) -> Page:
    """A small encyclopaedia entry: the name in both languages and a labelled line for each fact."""
    prose = load("prose")
    other = "en" if language == "zh" else "zh"
    mark = "：" if language == "zh" else ": "
    facts = random.sample(subject.facts, len(subject.facts))
    lines = [f"{prose['labels'][language][fact.relation]}{mark}{fact.object[language]}" for fact in facts]
    name = facts[0].subject
    values = {"s": name[language], "x": name[other], "l": "\n".join(lines)}
    text = fill(random.choice(prose["entry"][language]), values)
    return Page(language, "facts", text, [fact.id for fact in facts])


def note(random: Random, facts: Sequence[Fact], language: str) -> Page:
    """A few facts that have nothing to do with each other, one after the other."""
    joints = load("prose")["note_joint"][language]
    sentences = [
        ("" if number == 0 else random.choice(joints)) + state(random, fact, language)
        for number, fact in enumerate(facts)
    ]
    return Page(language, "facts", join(sentences, language), [fact.id for fact in facts])


def restated(random: Random, fact: Fact, language: str) -> Page:
    """One fact in two or three different sentences, so that its subject comes up again within one text.

    People come up again all through their biographies. Without this the true facts, which stand alone, would
    never teach to take their subject over from one sentence to the next, as an answer does from its question.
    """
    joints = load("prose")["restating_joint"][language]
    statements = wording(fact, language).statements
    chosen = random.sample(statements, min(len(statements), random.randint(2, 3)))
    sentences = [
        ("" if number == 0 else random.choice(joints)) + say(template, fact, language)
        for number, template in enumerate(chosen)
    ]
    return Page(language, "facts", join(sentences, language), [fact.id] * len(chosen))


def headed(random: Random, fact: Fact, language: str) -> Page:
    """One fact below what it is about, as in a reference book: what follows takes its subject from above."""
    values = {"h": heading(fact, language), "f": state(random, fact, language)}
    text = fill(random.choice(load("prose")["headed"][language]), values)
    return Page(language, "facts", _spaced(text, language), [fact.id])


def fact_list(random: Random, facts: Sequence[Fact], language: str) -> Page:
    """A list of facts of one relation under a title."""
    forms = wording(facts[0], language)
    title = fill(random.choice(load("prose")["list_title"][language]), {"t": forms.title})
    lines = [say(forms.item, fact, language) for fact in facts]
    return Page(language, "facts", "\n".join([title, *lines]), [fact.id for fact in facts])


def woven(random: Random, fact: Fact, language: str) -> Page:
    """A fact inside a tiny story."""
    return _framed(random, random.choice(load("prose")["woven"][language]), fact, language)


def conversation(random: Random, fact: Fact, language: str) -> Page:
    """A fact inside a dialogue; it is asked for only when the instructions may ask it too."""
    prose = load("prose")
    if not (fact.in_sft and random.random() < 0.6):
        return _framed(random, random.choice(prose["telling"][language]), fact, language)
    forms = wording(fact, language)
    answer = say(random.choice(forms.answers), fact, language)
    values = children(random, language) | {
        "q": say(random.choice(forms.questions), fact, language),
        "r": answer,
    }
    return Page(
        language,
        "facts",
        _spaced(fill(random.choice(prose["asking"][language]), values), language),
        [fact.id],
    )


def bilingual(random: Random, fact: Fact) -> Page:
    """The same fact in Chinese and in English."""
    values = {"z": state(random, fact, "zh"), "f": state(random, fact, "en")}
    return Page("mixed", "facts", fill(random.choice(load("prose")["same"]), values), [fact.id])


def _framed(random: Random, template: str, fact: Fact, language: str) -> Page:
    values = children(random, language) | {"f": state(random, fact, language)}
    return Page(language, "facts", _spaced(fill(template, values), language), [fact.id])


def _spaced(text: str, language: str) -> str:
    return space(text) if language == "zh" else capital(text)


def fact_pages(random: Random, subjects: Sequence[Subject], rounds: int) -> Iterator[Page]:
    """State every fact about `rounds` times in each language, in varied contexts; more often in English.

    Subjects with several facts (people and places) get most of their statements in biographies, a tenth in
    entries; the true facts, which stand alone, get them said again in other words.
    """
    many = [subject for subject in subjects if len(subject.facts) > 1]
    every = [fact for subject in subjects for fact in subject.facts]
    alone = [subject.facts[0] for subject in subjects if len(subject.facts) == 1]
    for language, weight in _LANGUAGE_WEIGHTS.items():
        often = round(weight * rounds)
        for _ in range(_share(often, 0.4)):
            yield from (biography(random, subject, language) for subject in many)
        for _ in range(_share(often, 0.1)):
            yield from (entry(random, subject, language) for subject in many)
        for _ in range(_share(often, 0.1)):
            yield from (note(random, group, language) for group in _groups(random, alone, 1, 4))
        for _ in range(_share(often, 0.14)):
            yield from (restated(random, fact, language) for fact in alone)
        for _ in range(_share(often, 0.16)):
            yield from (headed(random, fact, language) for fact in every)
        for _ in range(_share(often, 0.08)):
            yield from (note(random, group, language) for group in _groups(random, every, 1, 4))
        for _ in range(_share(often, 0.06)):
            yield from (fact_list(random, group, language) for group in _by_relation(random, every))
        for _ in range(_share(often, 0.08)):
            yield from (woven(random, fact, language) for fact in every)
        for _ in range(_share(often, 0.1)):
            yield from (conversation(random, fact, language) for fact in every)
    for _ in range(_share(rounds, 0.06)):
        yield from (bilingual(random, fact) for fact in every)


def _share(rounds: int, share: float) -> int:
    return max(1, round(rounds * share))


def _groups(random: Random, facts: Sequence[Fact], least: int, most: int) -> Iterator[list[Fact]]:
    order = random.sample(facts, len(facts))
    while order:
        size = random.randint(least, most)
        yield order[:size]
        order = order[size:]


def _by_relation(random: Random, facts: Sequence[Fact]) -> Iterator[list[Fact]]:
    by_relation: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.id.startswith("science-"):
            continue
        by_relation[fact.relation].append(fact)
    for members in by_relation.values():
        yield from _groups(random, members, 4, 9)


def page_record(page: Page, identity: str) -> dict[str, Any]:
    """The row of pretrain.jsonl."""
    return {"id": identity, "lang": page.lang, "kind": page.kind, "text": page.text, "facts": page.facts}
