"""The examiner on the built-in world's own exam: known answers get exactly the marks they deserve."""

from collections import Counter

import pytest
from scripted_model import ScriptedModel, first, ignorant

from jielong.evaluation import ExamSettings, read_exam, take_exam
from jielong.marking import Check, check_answer
from jielong.world import make_world
from jielong.world.cast import make_cast
from jielong.world.exams import exam_items

SEED = 3


@pytest.fixture(scope="module")
def exam(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, "tiny", SEED)
    return read_exam(folder)


@pytest.fixture(scope="module")
def gold():
    """The world's own question, answer and options, by question and skill."""
    cast = make_cast("tiny", SEED)
    return {
        (item.skill, item.question): item for language in ("zh", "en") for item in exam_items(cast, language)
    }


def counts(result):
    total = Counter()
    for row in result.rows():
        total[row["skill"], row["form"], "right"] += row["right"]
        total[row["skill"], row["form"], "total"] += row["total"]
    return total


@pytest.mark.parametrize("form", ["chat", "base"])
def test_the_worlds_own_answers_score_everything(tokenizer, exam, gold, form):
    def answer(item):
        return gold[item.skill, item.messages[-1].content].answer

    model = ScriptedModel(tokenizer, exam, answer, lambda item: item.answer, form)
    result = take_exam(model, exam, ExamSettings(form=form))
    wrong = [(row.id, row.answer, row.why) for row in result.answers if not row.right]
    assert wrong == []
    assert all(row["right"] == row["total"] for row in result.rows())


def test_i_dont_know_is_right_only_where_nothing_is_known(tokenizer, exam):
    scores = counts(take_exam(ScriptedModel(tokenizer, exam, ignorant, first), exam))
    for (skill, form, _), _ in list(scores.items()):
        if form == "choice":
            continue
        right, total = scores[skill, form, "right"], scores[skill, form, "total"]
        assert total > 0
        nothing = sum(item.skill == skill and item.check.kind == "unknown" for item in exam if item.check)
        assert right == (total if skill == "ends" else nothing), skill
    # The right choice takes turns over the four places, so that always taking the first is chance.
    chance = [
        (scores[s, "choice", "right"], scores[s, "choice", "total"]) for s in ("facts_heldout", "arithmetic")
    ]
    assert all(abs(right - total / 4) <= 4 for right, total in chance)


def test_wrong_options_written_out_are_wrong(exam):
    by_question = {(item.skill, item.messages): item for item in exam if item.form == "plain"}
    tried = 0
    for item in exam:
        plain = by_question.get((item.skill, item.messages))
        if item.form != "choice" or plain is None:
            continue
        verdicts = [check_answer(plain.check, choice).right for choice in item.choices]
        assert verdicts == [number == item.answer for number in range(4)], item.id
        tried += 1
    assert tried > 50


def test_another_questions_answer_is_rarely_similar_enough(gold):
    for skill in ("translation", "summary"):
        of_skill = [item for (name, _), item in gold.items() if name == skill]
        passed = [
            check_answer(Check.parse(one.check), other.answer).right
            for one in of_skill
            for other in of_skill
            if one.answer != other.answer
        ]
        assert sum(passed) <= 0.02 * len(passed)
