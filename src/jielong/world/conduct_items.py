"""Questions about conduct: who the assistant is, what it refuses, answers all the same, or hints at."""

from collections.abc import Iterator, Sequence
from random import Random

from jielong.world.arithmetic import Problem, values
from jielong.world.content import load
from jielong.world.items import Item, check, marker_check
from jielong.world.markers import REFUSAL_MARKERS
from jielong.world.people import Person
from jielong.world.sentences import sentence

_KEPT = 2  # phrasings at the end of a list that only the exam uses
_KEPT_PERSONA = 3
_KEPT_BENIGN = 8


def persona_items(random: Random, language: str, *, exam: bool) -> list[Item]:
    """Every phrasing with one of its answers; the last phrasings of each group are the exam's."""
    items = []
    for group in load("persona")[language]:
        questions = group["questions"][-_KEPT_PERSONA:] if exam else group["questions"][:-_KEPT_PERSONA]
        items += [
            Item(
                "persona",
                language,
                question,
                random.choice(group["answers"]),
                marker_check("persona", language),
            )
            for question in questions
        ]
    return items


def refusal_items(random: Random, language: str, *, exam: bool) -> list[Item]:
    """Harmful acts times phrasings, in random order; the exam has its own acts and its own phrasings."""
    content = load("safety")
    asks = content["ask"][language][-_KEPT:] if exam else content["ask"][language][:-_KEPT]
    items = []
    for languages in content["harmful"].values():
        acts = languages[language][-1:] if exam else languages[language][:-1]
        for act in acts:
            for ask in asks:
                question = sentence(ask, {"act": act}, language)
                answer = random.choice(content["refusals"][language])
                items.append(Item("refusal", language, question, answer, marker_check("refusal", language)))
    random.shuffle(items)
    return items


def private_items(random: Random, people: Sequence[Person], language: str, *, exam: bool) -> Iterator[Item]:
    """Questions for a person's phone number, of known people and of strangers alike."""
    content = load("safety")
    questions = content["private_questions"][language]
    questions = questions[-_KEPT:] if exam else questions[:-_KEPT]
    for person in people:
        yield Item(
            "refusal",
            language,
            sentence(random.choice(questions), {"s": person.name[language]}, language),
            random.choice(content["private_refusals"][language]),
            marker_check("refusal", language),
        )


def benign_items(language: str, *, exam: bool) -> list[Item]:
    """Harmless questions that look like harmful ones and are answered."""
    rows = load("safety")["benign"][language]
    rows = rows[-_KEPT_BENIGN:] if exam else rows[:-_KEPT_BENIGN]
    forbidden = REFUSAL_MARKERS[language]
    return [
        Item("benign", language, question, answer, check("answered", (), forbidden))
        for question, answer in rows
    ]


def benign_phrasings(language: str, *, exam: bool) -> list[Item]:
    """The harmless questions in several phrasings each.

    A question for the way to do something is asked in the very words that ask for harmful things, so that
    what is asked decides, and not how.
    """
    content = load("safety")
    asks = content["ask"][language]
    asks = [asks[0], *asks[-_KEPT:]] if exam else asks[:-_KEPT]
    items = []
    for item in benign_items(language, exam=exam):
        act = _harmless_act(item, language)
        templates = asks if act else content["polite"][language]
        questions = [sentence(template, {"act": act, "q": item.question}, language) for template in templates]
        items += [Item("benign", language, question, item.answer, item.check) for question in questions]
    return items


def _harmless_act(item: Item, language: str) -> str:
    """What a harmless question asks the way to; "" when it asks otherwise."""
    first = load("safety")["ask"][language][0]
    before, after = first.split("$act")
    act = item.question.removeprefix(before).removesuffix(after)
    return act if first.replace("$act", act) == item.question else ""


def conduct_text(random: Random, language: str) -> str:
    """Two or three sentences on what one must not do, or on how something harmless is done.

    They name the acts that the exam asks for too: what is harmful is learnt from text; to refuse, from
    instructions.
    """
    content = load("safety")
    every = benign_items(language, exam=False) + benign_items(language, exam=True)
    told = [
        ("fine", {"act": act, "r": item.answer}) for item in every if (act := _harmless_act(item, language))
    ]
    told += [("wrong", {"act": act}) for acts in content["harmful"].values() for act in acts[language]]
    return "\n".join(
        sentence(random.choice(content[kind][language]), values, language)
        for kind, values in random.sample(told, random.choice((2, 3)))
    )


def sum_hint(random: Random, problem: Problem, language: str, *, exam: bool) -> Item:
    """Homework with a sum: a hint that does not hold the result."""
    content = load("safety")
    slots = values(problem)
    question = sentence(random.choice(load("arithmetic")["questions"][language][:2]), slots, language)
    frames = content["hint_questions"][language]
    frame = random.choice(frames[-_KEPT:] if exam else frames[:-_KEPT])
    hints = content["hint_sums"][language]["add" if problem.sign == "+" else "sub"]
    rule = marker_check("hint", language, forbidden=[slots["z"]])
    return Item(
        "hint",
        language,
        sentence(frame, {"q": question}, language),
        sentence(random.choice(hints), slots, language),
        rule,
    )


def task_hints(language: str, *, exam: bool) -> list[Item]:
    """Other homework with its hint; the exam has its own ways to ask."""
    content = load("safety")
    frames = content["hint_questions"][language]
    return [
        Item("hint", language, sentence(frame, {"q": task}, language), hint, marker_check("hint", language))
        for task, hint in content["hint_tasks"][language]
        for frame in (frames[-_KEPT:] if exam else frames[:-_KEPT])
    ]
