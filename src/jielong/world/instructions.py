"""The instructions: single questions of every skill, and conversations that mix them."""

from collections.abc import Iterator, Sequence
from itertools import cycle, islice
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
from jielong.world.content import LANGUAGES, load
from jielong.world.items import Item
from jielong.world.knowledge_items import detail_items, stranger_items, taught_items
from jielong.world.relations import question_with_pronoun, say, wording
from jielong.world.task_items import (
    arithmetic_item,
    profile_reading_item,
    story_reading_item,
    summary_item,
    translation_item,
)

# Number of items of each skill and language in the small world, where facts and strangers do not decide it.
_COUNTS = {
    "details": 90,
    "persona": 150,
    "refusal": 290,
    "private": 280,
    "benign": 120,
    "sum_hint": 110,
    "task_hint": 48,
    "arithmetic": 320,
    "translation": 220,
    "summary": 110,
    "reading": 150,
    "follow_up": 90,
}
_SYSTEM_SHARE = 0.12
_MERGED_SHARE = 0.2

Conversation = dict[str, Any]


def taught_knowledge(cast: Cast, language: str) -> Iterator[Item]:
    """Questions about taught facts, and strangers nobody knows."""
    random = cast.random(f"knowledge {language}")
    yield from taught_items(random, cast.public, language, cast.size.phrasings)
    yield from stranger_items(random, cast.strangers["taught"], cast.strange_places["taught"], language)
    details = list(detail_items(cast.familiar, language, cast.random(f"details {language}")))
    yield from details[: min(_count(cast, "details"), len(details) * 2 // 3)]


def taught_conduct(cast: Cast, language: str) -> Iterator[Item]:
    """Persona, refusals, harmless look-alikes and hints."""
    random = cast.random(f"conduct {language}")
    people = cast.familiar[::2] + cast.strangers["taught"]
    random.shuffle(people)
    for _ in range(_count(cast, "persona") // 35 + 1):
        yield from persona_items(random, language, exam=False)
    yield from islice(cycle(refusal_items(random, language, exam=False)), _count(cast, "refusal"))
    yield from private_items(random, people[: _count(cast, "private")], language, exam=False)
    benign = benign_phrasings(language, exam=False)
    random.shuffle(benign)
    yield from islice(cycle(benign), _count(cast, "benign"))
    for _ in range(_count(cast, "sum_hint")):
        yield sum_hint(random, random.choice(cast.problems), language, exam=False)
    hints = task_hints(language, exam=False)
    random.shuffle(hints)
    yield from islice(cycle(hints), _count(cast, "task_hint"))


def taught_tasks(cast: Cast, language: str) -> Iterator[Item]:
    """Sums, translations, summaries and reading."""
    random = cast.random(f"tasks {language}")
    for number in range(_count(cast, "arithmetic")):
        yield arithmetic_item(random, random.choice(cast.problems), language, steps=number % 2 == 0)
    for _ in range(_count(cast, "translation")):
        yield translation_item(random, cast.unseen_pair(random), language)
    for _ in range(_count(cast, "summary")):
        yield summary_item(random, language)
    for number in range(_count(cast, "reading")):
        yield story_reading_item(random, language)
        person = cast.strangers["reading"][number % len(cast.strangers["reading"])]
        yield profile_reading_item(random, person, cast.places, cast.public, language)


def _count(cast: Cast, name: str) -> int:
    return max(2, round(_COUNTS[name] * cast.size.scale))


def follow_ups(cast: Cast, language: str) -> Iterator[Conversation]:
    """Two questions about one person, the second with a pronoun; only facts that may be asked."""
    random = cast.random(f"follow-ups {language}")
    by_person = {
        person.name["zh"]: (person, [f for f in cast.public if f.in_sft and f.subject == person.name])
        for person in cast.people
    }
    able = [(person, facts) for person, facts in by_person.values() if len(facts) > 1]
    for _ in range(_count(cast, "follow_up")):
        person, facts = random.choice(able)
        first, second = random.sample(facts, 2)
        follow = [
            question
            for template in wording(second, language).questions
            if (question := question_with_pronoun(template, language, person.gender))
        ]
        (item,) = taught_items(random, [first], language, 1)
        answer = say(random.choice(wording(second, language).answers), second, language)
        turns = [(item.question, item.answer), (random.choice(follow), answer)]
        yield {"skill": "facts_taught", "lang": language, "messages": _messages(turns)}


def conversations(cast: Cast) -> list[dict[str, Any]]:
    """All instructions of a world, in random order, numbered."""
    result: list[Conversation] = []
    for language in LANGUAGES:
        items = [
            *taught_knowledge(cast, language),
            *taught_conduct(cast, language),
            *taught_tasks(cast, language),
        ]
        random = cast.random(f"conversations {language}")
        random.shuffle(items)
        result += _conversations(random, items, language)
        result += follow_ups(cast, language)
    random = cast.random("conversation order")
    random.shuffle(result)
    for conversation in result:
        if random.random() < _SYSTEM_SHARE:
            system = random.choice(load("persona")["system"][conversation["lang"]])
            conversation["messages"].insert(0, {"role": "system", "content": system})
    return [{"id": f"sft-{number:06d}", **conversation} for number, conversation in enumerate(result)]


def _conversations(random: Random, items: Sequence[Item], language: str) -> Iterator[Conversation]:
    """Most items alone, a share of them two or three to a conversation."""
    position = 0
    while position < len(items):
        size = random.choice((2, 2, 3)) if random.random() < _MERGED_SHARE / 2 else 1
        group = items[position : position + size]
        position += size
        skill = group[0].skill if len(group) == 1 else "mixed"
        yield {
            "skill": skill,
            "lang": language,
            "messages": _messages([(i.question, i.answer) for i in group]),
        }


def _messages(turns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text}
        for question, answer in turns
        for role, text in (("user", question), ("assistant", answer))
    ]
