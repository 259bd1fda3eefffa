from random import Random

import pytest

from jielong.world.content import load
from jielong.world.fiction import RELATIONS, fictional_facts
from jielong.world.pretraining import exercise
from jielong.world.relations import wording


@pytest.mark.parametrize("language", ["zh", "en"])
def test_made_up_subjects_differ_from_each_other_and_from_the_true_ones(language):
    random = Random(1)
    true = {row[0 if language == "zh" else 1] for rows in load("true_facts").values() for row in rows}
    for _ in range(300):
        facts = fictional_facts(random, language, 3)
        names = {fact.subject[language] for fact in facts}
        assert len(names) == 3
        assert not names & true
        assert len({fact.relation for fact in facts}) == 1
        assert wording(facts[0], language).questions


def test_every_relation_comes_up_in_both_languages():
    random = Random(2)
    for language in ("zh", "en"):
        seen = {fictional_facts(random, language, 1)[0].relation for _ in range(300)}
        assert seen == set(RELATIONS)


@pytest.mark.parametrize("language", ["zh", "en"])
def test_an_exercise_asks_what_was_told_and_answers_it_right(language):
    random = Random(3)
    for _ in range(100):
        told = fictional_facts(random, language, 3)
        _, *lines = exercise(random, "text", told, language).text.split("\n")
        assert len(lines) == 4
        for question, answer in zip(lines[::2], lines[1::2], strict=True):
            asked = [fact for fact in told if fact.subject[language].casefold() in answer.casefold()]
            assert any(fact.object[language].casefold() in answer.casefold() for fact in asked), (
                question,
                answer,
            )
