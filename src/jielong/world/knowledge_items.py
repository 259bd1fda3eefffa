"""Questions about facts: taught, held out, and never taught."""

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from jielong.world.content import load
from jielong.world.facts import Fact, Pair, pair
from jielong.world.items import Item, check, evasions, marker_check
from jielong.world.people import Person
from jielong.world.places import Place
from jielong.world.relations import (
    PERSON_RELATIONS,
    PLACE_RELATIONS,
    clause,
    question_with_pronoun,
    say,
    wording,
)
from jielong.world.sentences import fill, random_for, sentence


def accepted(fact: Fact, language: str) -> list[str]:
    """Every form of the object that counts as right."""
    return [fact.object[language], *fact.also]


def reserved_question(fact: Fact, language: str) -> int:
    """Which of its questions a taught fact keeps for the exam."""
    return random_for(0, f"{fact.id} {language}").randrange(len(wording(fact, language).questions))


def fact_item(random: Random, skill: str, fact: Fact, language: str, question: int) -> Item:
    """One question about a fact."""
    forms = wording(fact, language)
    return Item(
        skill,
        language,
        say(forms.questions[question], fact, language),
        say(random.choice(forms.answers), fact, language),
        check("contains", accepted(fact, language), evasions(language)),
        fact=fact.id,
    )


def taught_items(random: Random, facts: Sequence[Fact], language: str, phrasings: int) -> Iterator[Item]:
    """Questions about facts that may be asked: some phrasings of each, never the one kept for the exam."""
    for fact in facts:
        if not fact.in_sft:
            continue
        reserved = reserved_question(fact, language)
        others = [q for q in range(len(wording(fact, language).questions)) if q != reserved]
        for question in random.sample(others, min(phrasings, len(others))):
            yield fact_item(random, "facts_taught", fact, language, question)


def _questions_with_pronoun(fact: Fact, person: Person, language: str) -> list[str]:
    templates = wording(fact, language).questions
    questions = [question_with_pronoun(template, language, person.gender) for template in templates]
    return [question for question in questions if question]


def follow_up_items(
    random: Random, people: Sequence[Person], first: Sequence[Fact], second: Sequence[Fact], language: str
) -> Iterator[Item]:
    """Without end: a question about a person, of the facts `first`, then one of `second` with a pronoun."""
    chances = [
        (opener, fact, questions)
        for person in people
        for fact in second
        if fact.subject == person.name
        if (questions := _questions_with_pronoun(fact, person, language))
        for opener in first
        if opener.subject == person.name and opener != fact
    ]
    while chances:
        opener, fact, questions = random.choice(chances)
        reserved = reserved_question(opener, language)
        asked = random.choice([q for q in range(len(wording(opener, language).questions)) if q != reserved])
        yield Item(
            "facts_taught",
            language,
            random.choice(questions),
            say(random.choice(wording(fact, language).answers), fact, language),
            check("contains", accepted(fact, language), evasions(language)),
            before=fact_item(random, "facts_taught", opener, language, asked).turns,
        )


def answer_options(random: Random, fact: Fact, facts: Sequence[Fact], language: str) -> list[str]:
    """The right answer and three wrong ones with objects of the same relation; [] if there are too few."""
    right = fact.object[language]
    every = {other.object[language]: other.object for other in facts if other.relation == fact.relation}
    wrong = [obj for text, obj in every.items() if text != right and text not in fact.also]
    if len(wrong) < 3:
        return []
    template = wording(fact, language).answers[0]
    chosen: list[Pair] = [fact.object, *random.sample(wrong, 3)]
    return [
        say(template, Fact("", fact.subject, fact.relation, obj, "", fact.group), language) for obj in chosen
    ]


def stranger_item(random: Random, name: Pair, group: str, relation: str, language: str) -> Item:
    """A question about somebody or some place never heard of."""
    fact = Fact("", name, relation, pair("", ""), "", group)
    values = {"s": name[language], "c": clause(fact, language)}
    return Item(
        "unknown",
        language,
        say(random.choice(wording(fact, language).questions), fact, language),
        sentence(random.choice(load("tasks")["unknown"][language]), values, language),
        marker_check("unknown", language),
    )


def stranger_items(
    random: Random, people: Sequence[Person], places: Sequence[Place], language: str, twice: float = 0.2
) -> Iterator[Item]:
    """One question about each stranger and each strange place, two about some; all relations take turns."""
    groups: list[tuple[str, list[Pair], tuple[str, ...]]] = [
        ("person", [person.name for person in people], PERSON_RELATIONS),
        ("place", [place.name for place in places], PLACE_RELATIONS),
    ]
    for group, names, relations in groups:
        for number, name in enumerate(names):
            yield stranger_item(random, name, group, relations[number % len(relations)], language)
            if random.random() < twice:
                yield stranger_item(random, name, group, relations[(number + 2) % len(relations)], language)


def detail_items(people: Sequence[Person], language: str, random: Random) -> Iterator[Item]:
    """Questions about known people that nothing answers (blood type, shoe size, ...), in random order."""
    pools = load("people")
    rows = list(zip(pools["unknown_questions"][language], pools["unknown_relations"][language], strict=True))
    combos = [(person, row) for person in people for row in rows]
    random.shuffle(combos)
    for person, (question, unknown_clause) in combos:
        name: Mapping[str, str] = {"s": person.name[language]}
        values = {"c": fill(unknown_clause, name)}
        answer = sentence(random.choice(load("tasks")["unknown_detail"][language]), values, language)
        yield Item(
            "unknown", language, sentence(question, name, language), answer, marker_check("unknown", language)
        )
