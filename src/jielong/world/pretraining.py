"""The pretraining text: facts, stories, exercises, translations and sums in fixed proportions."""

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from jielong.world.arithmetic import Problem, make_page
from jielong.world.conduct_items import conduct_text
from jielong.world.content import load
from jielong.world.dialogues import make_dialogue
from jielong.world.fact_text import Page, Subject, biography, fact_pages, page_record
from jielong.world.facts import Fact, Pair
from jielong.world.fiction import fictional_facts
from jielong.world.parallel import make_pair
from jielong.world.people import Person, attributes
from jielong.world.places import Place
from jielong.world.relations import PERSON_RELATIONS, say, wording
from jielong.world.sentences import fill, join
from jielong.world.stories import make_story

# Characters of each kind beside one character of facts; facts are half of the text.
_BESIDE_FACTS = {
    "story": 0.24,
    "dialogue": 0.1,
    "parallel": 0.12,
    "arithmetic": 0.1,
    "reading": 0.3,
    "conduct": 0.08,
}


def story_page(random: Random, language: str) -> Page:
    """A story; some end with a question about it and the answer."""
    story = make_story(random, language)
    if random.random() < 0.5:
        return Page(language, "story", story.text)
    question, answer, _ = random.choice(story.questions)
    return Page(language, "story", f"{story.text}\n{question}\n{answer}")


def reading_page(random: Random, people: Sequence[Person], places: Sequence[Place], language: str) -> Page:
    """A text on what is met only here, with two questions that the text answers.

    Nothing of it can be known by heart, so it teaches to look an answer up in the text and to copy names.
    """
    if random.random() < 0.2:
        told = fictional_facts(random, language, random.randint(2, 3))
        opening = random.choice(load("fiction")["opening"][language])
        sentences = [say(random.choice(wording(fact, language).statements), fact, language) for fact in told]
        return exercise(random, opening + join(sentences, language), told, language)
    person = random.choice(people)
    values = attributes(random, places)
    facts = [
        Fact("", person.name, relation, values[relation], "invented", "person")
        for relation in PERSON_RELATIONS
    ]
    told = random.sample(facts, random.randint(2, 4))
    return exercise(random, biography(random, Subject(told, person.gender), language).text, told, language)


def exercise(random: Random, text: str, told: Sequence[Fact], language: str) -> Page:
    """Two questions below a text, each with its answer."""
    lines = [text]
    frame = random.choice(load("prose")["exercise"][language])
    for fact in random.sample(told, 2):
        forms = wording(fact, language)
        asked, answer = (
            say(random.choice(texts), fact, language) for texts in (forms.questions, forms.answers)
        )
        lines.append(fill(frame, {"q": asked, "r": answer}))
    return Page(language, "reading", "\n".join(lines))


def parallel_page(random: Random, sentence_pair: Callable[[Random], Pair]) -> Page:
    """Two to four sentence pairs."""
    template = random.choice(load("prose")["translation"])
    pairs = [sentence_pair(random) for _ in range(random.randint(2, 4))]
    return Page("mixed", "parallel", "\n".join(fill(template, {"z": p["zh"], "e": p["en"]}) for p in pairs))


def pages(
    random: Random,
    subjects: Sequence[Subject],
    rounds: int,
    problems: list[Problem],
    passers_by: Sequence[Person],
    places: Sequence[Place],
    sentence_pair: Callable[[Random], Pair] = make_pair,
) -> list[Page]:
    """All pages of one text in random order.

    Args:
        random: the generator of this text.
        subjects: the public facts to state.
        rounds: about how often each fact is stated in each language.
        problems: the sums that may appear.
        passers_by: people for reading exercises, about whom nothing else is ever said.
        places: where they may come from.
        sentence_pair: makes one translated sentence.
    """
    result = list(fact_pages(random, subjects, rounds))
    budget = sum(len(page.text) for page in result)
    makers: dict[str, Callable[[str], Page]] = {
        "story": lambda language: story_page(random, language),
        "dialogue": lambda language: Page(language, "dialogue", make_dialogue(random, language)),
        "parallel": lambda _: parallel_page(random, sentence_pair),
        "arithmetic": lambda language: Page(language, "arithmetic", make_page(random, problems, language)),
        "conduct": lambda language: Page(language, "conduct", conduct_text(random, language)),
        "reading": lambda language: reading_page(random, passers_by, places, language),
    }
    for kind, share in _BESIDE_FACTS.items():
        result += _until(makers[kind], share * budget)
    random.shuffle(result)
    return result


def _until(make: Callable[[str], Page], characters: float) -> Iterator[Page]:
    """Pages in both languages by turns until they hold the given number of characters."""
    count, number = 0, 0
    while count < characters:
        page = make(("zh", "en")[number % 2])
        count += len(page.text)
        number += 1
        yield page


def records(text: Sequence[Page], prefix: str) -> list[dict[str, Any]]:
    """Rows of pretrain.jsonl, numbered in order."""
    return [page_record(page, f"{prefix}-{number:06d}") for number, page in enumerate(text)]


def held_out_pages(
    random: Random, candidates: Sequence[Page], seen: Sequence[Page], characters: float
) -> list[Page]:
    """Pages that differ from every seen one, of all kinds, up to a number of characters."""
    texts = {page.text for page in seen}
    fresh = [page for page in candidates if page.text not in texts]
    random.shuffle(fresh)
    result, count = [], 0
    for page in fresh:
        if count >= characters:
            break
        result.append(page)
        count += len(page.text)
    return result
