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
from jielong.world.items import Item, messages_of
from jielong.world.knowledge_items import detail_items, follow_up_items, stranger_items, taught_items
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
    "refusal": 380,
    "private": 300,
    "benign": 260,
    "sum_hint": 120,
    "task_hint": 48,
    "arithmetic": 320,
    "translation": 220,
    "summary": 110,
    "reading": 150,
    "follow_up": 140,
}
_SYSTEM_SHARE = 0.12
_TURNS = {1: 0.4, 2: 0.25, 3: 0.2, 4: 0.15}
"""How many items a conversation takes, with the share of each; fewer where they are long."""
_LONGEST = 150
"""Weight of a conversation of several items (`_weight`): with its system message it fits into 192 tokens."""

Conversation = dict[str, Any]


def taught_knowledge(cast: Cast, language: str) -> Iterator[Item]:
    """Questions about taught facts, and strangers nobody knows."""
    random = cast.random(f"knowledge {language}")
    yield from taught_items(random, cast.public, language, cast.size.phrasings)
    yield from stranger_items(random, cast.strangers["taught"], cast.strange_places["taught"], language)
    details = list(detail_items(cast.familiar, language, cast.random(f"details {language}")))
    yield from details[: min(_count(cast, "details"), len(details) * 2 // 3)]
    taught = [fact for fact in cast.public if fact.in_sft]
    yield from islice(
        follow_up_items(random, cast.people, taught, taught, language), _count(cast, "follow_up")
    )


def taught_conduct(cast: Cast, language: str) -> Iterator[Item]:
    """Persona, refusals, harmless look-alikes and hints."""
    random = cast.random(f"conduct {language}")
    people = 4 * cast.familiar[::2] + cast.strangers["taught"]
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
    random = cast.random("conversation order")
    random.shuffle(result)
    for conversation in result:
        if random.random() < _SYSTEM_SHARE:
            system = random.choice(load("persona")["system"][conversation["lang"]])
            conversation["messages"].insert(0, {"role": "system", "content": system})
    return [{"id": f"sft-{number:06d}", **conversation} for number, conversation in enumerate(result)]


def _conversations(random: Random, items: Sequence[Item], language: str) -> Iterator[Conversation]:
    """Items one after the other, some alone and some as the turns of one conversation."""
    group: list[Item] = []
    turns = _draw_turns(random)
    for item in items:
        if group and (len(group) == turns or sum(map(_weight, [*group, item])) > _LONGEST):
            yield _conversation(group, language)
            group, turns = [], _draw_turns(random)
        group.append(item)
    if group:
        yield _conversation(group, language)


def _draw_turns(random: Random) -> int:
    (turns,) = random.choices(list(_TURNS), list(_TURNS.values()))
    return turns


def _weight(item: Item) -> float:
    """About its tokens: a Chinese character is nearly one, an English one a third, the template some ten."""
    characters = sum(len(question) + len(answer) for question, answer in item.turns)
    return 10 * len(item.turns) + characters * (0.8 if item.lang == "zh" else 0.3)


def _conversation(group: Sequence[Item], language: str) -> Conversation:
    return {
        "skill": group[0].skill if len(group) == 1 else "mixed",
        "lang": language,
        "messages": messages_of(turn for item in group for turn in item.turns),
    }
