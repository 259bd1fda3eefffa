"""Questions whose answer is in the question: sums, translation, summary, reading."""

from collections.abc import Sequence
from random import Random

from jielong.world.arithmetic import Problem, values, worked
from jielong.world.content import load
from jielong.world.fact_text import Subject, biography
from jielong.world.facts import Fact, Pair
from jielong.world.items import Item, check, evasions
from jielong.world.knowledge_items import accepted, answer_options
from jielong.world.people import Person, attributes
from jielong.world.places import Place
from jielong.world.relations import PERSON_RELATIONS, say, wording
from jielong.world.sentences import fill, sentence
from jielong.world.stories import make_story


def arithmetic_item(random: Random, problem: Problem, language: str, *, steps: bool) -> Item:
    """A sum; with `steps` the written method is asked for."""
    content = load("arithmetic")
    slots = values(problem)
    template = random.choice(content["worked_questions" if steps else "questions"][language])
    answers = [
        sentence(content["answers"][language][0], slots | {"z": str(z)}, language)
        for z in _near(random, problem)
    ]
    answer = worked(problem, language) if steps else answers[0]
    return Item(
        "arithmetic",
        language,
        sentence(template, slots, language),
        answer,
        check("number", [slots["z"]]),
        options=answers,
    )


def _near(random: Random, problem: Problem) -> list[int]:
    """The result and three wrong ones that a careless pupil might write."""
    wrong = [problem.result + step for step in (-20, -11, -10, -9, -2, -1, 1, 2, 9, 10, 11, 20)]
    return [problem.result, *random.sample([number for number in wrong if number > 0], 3)]


def translation_item(random: Random, sentences: Pair, language: str) -> Item:
    """Translate a sentence; an item's language is the language it is asked in."""
    source, target, name = ("zh", "en", "to_en") if language == "zh" else ("en", "zh", "to_zh")
    question = fill(random.choice(load("tasks")[name]), {"x": sentences[source]})
    return Item("translation", language, question, sentences[target], check("similar", [sentences[target]]))


def summary_item(random: Random, language: str) -> Item:
    """Sum up a story in one sentence."""
    story = make_story(random, language)
    question = fill(random.choice(load("tasks")["summary"][language]), {"text": story.text})
    return Item("summary", language, question, story.summary, check("similar", [story.summary]))


def story_reading_item(random: Random, language: str) -> Item:
    """A question about a story."""
    story = make_story(random, language)
    asked, answer, key = random.choice(story.questions)
    question = fill(random.choice(load("tasks")["reading"][language]), {"text": story.text, "q": asked})
    return Item("reading", language, question, answer, check("contains", [key], evasions(language)))


def profile_reading_item(
    random: Random, person: Person, places: Sequence[Place], known: Sequence[Fact], language: str
) -> Item:
    """A question about a text on a stranger: the answer stands in the text, so it can be known."""
    values_of = attributes(random, places)
    facts = [Fact("", person.name, r, values_of[r], "invented", "person") for r in PERSON_RELATIONS]
    facts = random.sample(facts, random.randint(2, 4))
    text = biography(random, Subject(facts, person.gender), language).text
    fact = random.choice(facts)
    forms = wording(fact, language)
    asked = say(random.choice(forms.questions), fact, language)
    question = fill(random.choice(load("tasks")["reading"][language]), {"text": text, "q": asked})
    answer = say(forms.answers[0], fact, language)
    rule = check("contains", accepted(fact, language), evasions(language))
    options = answer_options(random, fact, known, language)
    return Item("reading", language, question, answer, rule, options=options)
