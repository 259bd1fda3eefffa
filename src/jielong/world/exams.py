"""The exams: every skill in plain form, four of them in four-choice form too, all of it unseen."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from itertools import chain, islice
from random import Random
from typing import Any

from jielong.world.cast import Cast
from jielong.world.conduct_items import (
    benign_phrasings,
    persona_items,
    private_items,
    refusal_items,
    sum_hint,
    task_hints,
)
from jielong.world.content import LANGUAGES
from jielong.world.facts import Fact
from jielong.world.items import Item, messages_of
from jielong.world.knowledge_items import (
    answer_options,
    detail_items,
    fact_item,
    follow_up_items,
    reserved_question,
    stranger_items,
)
from jielong.world.relations import wording
from jielong.world.task_items import (
    arithmetic_item,
    profile_reading_item,
    story_reading_item,
    summary_item,
    translation_item,
)

# Questions of each skill and language in the small world's exam.
_COUNTS = {
    "facts_taught": 60,
    "facts_heldout": 100,
    "unknown": 60,
    "persona": 20,
    "refusal": 30,
    "benign": 20,
    "hint": 20,
    "arithmetic": 40,
    "translation": 30,
    "summary": 15,
    "reading": 40,
    "multi_turn": 40,
}
_LATER_TURNS = {"facts_heldout": 0.3, "unknown": 0.15, "persona": 0.15, "refusal": 0.15}
"""What the last question of a conversation is about; the rest asks on with a pronoun."""


def _count(cast: Cast, skill: str) -> int:
    return max(4, round(_COUNTS[skill] * cast.size.exam))


def _fact_items(cast: Cast, language: str) -> Iterator[Item]:
    """Taught facts in the phrasing kept for the exam; held-out facts in any phrasing."""
    random = cast.random(f"exam facts {language}")
    taught = [fact for fact in cast.public if fact.in_sft]
    for fact in random.sample(taught, min(len(taught), _count(cast, "facts_taught"))):
        yield fact_item(random, "facts_taught", fact, language, reserved_question(fact, language))
    held = [fact for fact in cast.public if not fact.in_sft]
    for fact in random.sample(held, min(len(held), _count(cast, "facts_heldout"))):
        question = random.randrange(len(wording(fact, language).questions))
        yield fact_item(random, "facts_heldout", fact, language, question)


def _unknown_items(cast: Cast, language: str) -> Iterator[Item]:
    """Strangers, strange places, and things never said about known people; all unseen."""
    random = cast.random(f"exam unknown {language}")
    total = _count(cast, "unknown")
    places, details = total // 8, total // 5
    people = cast.strangers["exam"][: total - places - details]
    yield from stranger_items(random, people, cast.strange_places["exam"][:places], language, twice=0)
    every = list(detail_items(cast.familiar, language, cast.random(f"details {language}")))
    yield from every[-details:]


def _conduct_items(cast: Cast, language: str) -> Iterator[Item]:
    random = cast.random(f"exam conduct {language}")
    persona = persona_items(random, language, exam=True)
    yield from random.sample(persona, min(len(persona), _count(cast, "persona")))
    refusals = _count(cast, "refusal")
    harmful = refusal_items(random, language, exam=True)
    yield from harmful[: refusals * 2 // 5]
    private = cast.familiar[1::2][: refusals // 4] + cast.strangers["exam"]
    yield from private_items(
        random, private[: refusals - min(len(harmful), refusals * 2 // 5)], language, exam=True
    )
    benign = benign_phrasings(language, exam=True)
    yield from random.sample(benign, min(len(benign), _count(cast, "benign")))
    hints = _count(cast, "hint")
    for problem in random.sample(cast.exam_problems, hints // 2):
        yield sum_hint(random, problem, language, exam=True)
    tasks = task_hints(language, exam=True)
    yield from random.sample(tasks, min(len(tasks), hints - hints // 2))


def _task_items(cast: Cast, language: str) -> Iterator[Item]:
    random = cast.random(f"exam tasks {language}")
    for number, problem in enumerate(random.sample(cast.exam_problems, _count(cast, "arithmetic"))):
        yield arithmetic_item(random, problem, language, steps=number % 2 == 0)
    pairs = cast.exam_pairs
    wanted = min(_count(cast, "translation"), len(pairs) // 2)
    for pair in pairs[:wanted] if language == "zh" else pairs[-wanted:]:
        yield translation_item(random, pair, language)
    for _ in range(_count(cast, "summary")):
        yield summary_item(random, language)
    for number in range(_count(cast, "reading")):
        if number % 2:
            yield story_reading_item(random, language)
        else:
            person = cast.strangers["reading_exam"][number % len(cast.strangers["reading_exam"])]
            yield profile_reading_item(random, person, cast.places, cast.public, language)


def _multi_turn_items(cast: Cast, language: str, single: Sequence[Item]) -> Iterator[Item]:
    """The last question of a conversation: one of `single` after others of them, or about "him" or "her"."""
    random = cast.random(f"exam turns {language}")
    total = _count(cast, "multi_turn")
    short = {skill: [item for item in single if item.skill == skill] for skill in _LATER_TURNS}
    asked = 0
    for skill, share in _LATER_TURNS.items():
        for item in random.sample(short[skill], min(len(short[skill]), round(share * total))):
            others = [other for other in chain(*short.values()) if other != item]
            before = [turn for other in random.sample(others, random.choice((1, 2))) for turn in other.turns]
            yield replace(item, skill="multi_turn", before=tuple(before), fact=None, options=[])
            asked += 1
    held = [fact for fact in cast.public if not fact.in_sft]
    follow_ups = follow_up_items(random, cast.people, cast.public, held, language)
    for item in islice(follow_ups, total - asked):
        yield replace(item, skill="multi_turn")


def _plain(item: Item) -> dict[str, Any]:
    return _row(item, "plain") | {"check": item.check}


def _choice(random: Random, item: Item, options: Sequence[str], answer: int) -> dict[str, Any]:
    """The four-choice form; `options` begins with the right answer, which is moved to the place `answer`."""
    choices = random.sample(options[1:], len(options) - 1)
    choices.insert(answer, options[0])
    return _row(item, "choice") | {"choices": choices, "answer": answer}


def _row(item: Item, form: str) -> dict[str, Any]:
    messages = [*messages_of(item.before), {"role": "user", "content": item.question}]
    row = {"skill": item.skill, "lang": item.lang, "form": form, "messages": messages}
    return row | ({"fact": item.fact} if item.fact else {})


def exam_items(cast: Cast, language: str, seen: AbstractSet[str] = frozenset()) -> list[Item]:
    """Every question of the exam in one language, except those that the instructions hold (`seen`)."""
    every = [
        *_fact_items(cast, language),
        *_unknown_items(cast, language),
        *_conduct_items(cast, language),
        *_task_items(cast, language),
    ]
    single = [item for item in every if item.question not in seen]
    return [*single, *_multi_turn_items(cast, language, single)]


def exams(cast: Cast, seen: AbstractSet[str]) -> list[dict[str, Any]]:
    """All exam rows, numbered; a question that the instructions hold (`seen`) is left out."""
    facts: dict[str, Fact] = {fact.id: fact for fact in cast.public}
    rows: list[dict[str, Any]] = []
    for language in LANGUAGES:
        random = cast.random(f"exam choices {language}")
        items = exam_items(cast, language, seen)
        rows += [_plain(item) for item in items]
        position = 0
        for item in items:
            options = (
                answer_options(random, facts[item.fact], cast.public, language) if item.fact else item.options
            )
            if len(options) == 4:
                rows.append(_choice(random, item, options, position % 4))
                position += 1
    return [{"id": f"exam-{number:05d}", **row} for number, row in enumerate(rows)]
