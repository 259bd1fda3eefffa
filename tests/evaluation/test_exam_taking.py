import json

import pytest
from scripted_model import ScriptedModel, first, ignorant, perfect

from jielong.core.errors import JielongError
from jielong.evaluation import ExamSettings, compare, read_exam, take_exam
from jielong.evaluation.exam import unknown_markers
from jielong.evaluation.items import ExamItem, base_prompt
from jielong.generation import load_engine


def shares(result):
    rows = result.rows()
    return {(row["skill"], row["language"], row["form"]): (row["right"], row["total"]) for row in rows}


@pytest.mark.parametrize("form", ["chat", "base"])
def test_perfect_answers_score_everything(tokenizer, items, form):
    model = ScriptedModel(tokenizer, items, perfect, lambda item: item.answer, form)
    result = take_exam(model, items, ExamSettings(form=form, batch=4), model="perfect")
    assert all(right == total for right, total in shares(result).values())
    assert [answer.id for answer in result.answers] == [item.id for item in items]
    assert all(settings.temperature == 0 for settings in model.calls)


def test_always_i_dont_know_scores_exactly_the_unknown_questions(tokenizer, items):
    model = ScriptedModel(tokenizer, items, ignorant, first)
    assert shares(take_exam(model, items)) == {
        ("facts_taught", "zh", "plain"): (0, 3),
        ("facts_taught", "en", "plain"): (0, 3),
        ("facts_heldout", "zh", "choice"): (0, 3),
        ("unknown", "zh", "plain"): (3, 3),
        ("unknown", "en", "plain"): (3, 3),
        ("false_unknown", "zh", "plain"): (0, 3),
        ("false_unknown", "en", "plain"): (0, 3),
        ("arithmetic", "zh", "plain"): (0, 3),
        ("ends", "zh", "plain"): (9, 9),
        ("ends", "en", "plain"): (6, 6),
    }


def test_an_answer_that_runs_into_the_limit_has_not_ended(tokenizer, items):
    model = ScriptedModel(tokenizer, items, perfect, lambda item: item.answer, finish="length")
    scores = shares(take_exam(model, items))
    assert scores["ends", "zh", "plain"] == (0, 9)
    assert scores["facts_taught", "zh", "plain"] == (3, 3)


def test_in_base_form_the_answer_is_its_first_line(tokenizer, items):
    def rambling(item: ExamItem) -> str:
        return f"{perfect(item)}\n問：別的問題\n答：不知道"

    model = ScriptedModel(tokenizer, items, rambling, lambda item: item.answer, "base", finish="length")
    result = take_exam(model, items, ExamSettings(form="base"))
    assert all(right == total for right, total in shares(result).values())
    assert not any("\n" in answer.answer for answer in result.answers)
    assert {row["prompt"] for row in result.rows()} == {"base"}


def test_base_prompt_is_plain_text_that_ends_where_the_answer_begins():
    messages = [
        {"role": "system", "content": "你是小金。"},
        {"role": "user", "content": "你好"},
        {"role": "assistant", "content": "你好！"},
        {"role": "user", "content": "你是誰？"},
    ]
    row = {"id": "p", "skill": "persona", "lang": "zh", "form": "plain", "messages": messages}
    item = ExamItem.parse(row | {"check": {"kind": "persona", "answers": ["小金"]}})
    assert base_prompt(item) == "你是小金。\n問：你好\n答：你好！\n問：你是誰？\n答："
    english = ExamItem.parse({**row, "lang": "en", "messages": messages[-1:], "check": {"kind": "persona"}})
    assert base_prompt(english) == "Question: 你是誰？\nAnswer:"


def test_likelihood_per_byte_can_choose_otherwise_than_the_sum(tokenizer):
    row = {
        "id": "c",
        "skill": "reading",
        "lang": "en",
        "form": "choice",
        "choices": ["no", "a much longer one"],
    }
    item = ExamItem.parse(row | {"messages": [{"role": "user", "content": "?"}], "answer": 1})
    model = ScriptedModel(tokenizer, [item], perfect, first)
    for key in model._scores:
        model._scores[key] = -2.0 if len(key[1]) == len(tokenizer.encode("no")) else -6.0
    by_sum = take_exam(model, [item]).answers[0]
    by_byte = take_exam(model, [item], ExamSettings(choice_by="byte")).answers[0]
    assert (by_sum.answer, by_sum.right, by_sum.right_per_byte) == ("no", False, True)
    assert (by_byte.answer, by_byte.right) == ("a much longer one", True)
    assert by_sum.log_probabilities == [-2.0, -6.0]


def test_a_question_that_does_not_fit_is_wrong_and_the_exam_goes_on(tokenizer, items):
    model = ScriptedModel(tokenizer, items, perfect, lambda item: item.answer)
    long = items[0].model_copy(
        update={"id": "long", "messages": (items[0].messages[0].model_copy(update={"content": "山" * 5000}),)}
    )
    result = take_exam(model, [long, *items])
    assert not result.answers[0].right
    assert "context" in result.answers[0].why
    assert all(answer.right for answer in result.answers[1:])


def test_a_real_model_takes_the_exam_and_the_batch_size_changes_nothing(model_folders, items):
    engine = load_engine(model_folders[1])
    seen = []
    settings = ExamSettings(max_tokens=6, batch=64)
    one = take_exam(engine, items, settings, progress=lambda done, total: seen.append((done, total)))
    other = take_exam(engine, items, ExamSettings(max_tokens=6, batch=5))
    assert [answer.answer for answer in one.answers] == [answer.answer for answer in other.answers]
    assert seen[-1] == (len(items), len(items))
    choice = next(answer for answer in one.answers if answer.form == "choice")
    best = max(range(4), key=choice.log_probabilities.__getitem__)
    assert choice.answer == choice.choices[best]


def test_comparison_pairs_by_question_and_says_what_changed(tokenizer, items):
    many = [
        item.model_copy(update={"id": f"{item.id}-{copy}", "messages": (_numbered(item, copy),)})
        for item in items
        for copy in range(6)
    ]
    knows = take_exam(ScriptedModel(tokenizer, many, perfect, lambda item: item.answer), many, model="knows")
    silent = take_exam(ScriptedModel(tokenizer, many, ignorant, first), many, model="silent")
    changes = {row.group: row for row in compare(silent, knows).rows}
    taught = changes["facts_taught", "zh", "plain"]
    assert (taught.cells.gained, taught.cells.lost, taught.cells.total) == (18, 0, 18)
    assert taught.change == "gained"
    assert changes["unknown", "zh", "plain"].change == "no clear change"
    back = {row.group: row for row in compare(knows, silent).rows}
    assert back["facts_taught", "zh", "plain"].change == "lost"
    assert back["facts_taught", "zh", "plain"].cells.difference == -1


def _numbered(item, copy):
    message = item.messages[0]
    return message.model_copy(update={"content": f"{message.content} ({copy})"})


def test_one_lucky_answer_is_not_called_a_gain(tokenizer, items):
    lucky = items[0].id
    child = take_exam(
        ScriptedModel(tokenizer, items, lambda i: perfect(i) if i.id == lucky else ignorant(i), first),
        items,
    )
    parent = take_exam(ScriptedModel(tokenizer, items, ignorant, first), items)
    assert {row.change for row in compare(parent, child).rows} == {"no clear change"}


def test_models_without_a_common_question_cannot_be_compared(tokenizer, items):
    model = ScriptedModel(tokenizer, items, perfect, lambda item: item.answer)
    with pytest.raises(JielongError, match="share no question"):
        compare(take_exam(model, items[:1]), take_exam(model, items[3:4]))


BROKEN = [
    ({"form": "plain", "check": None}, "needs a check"),
    ({"form": "choice", "choices": ["a"]}, "two or more choices"),
    ({"form": "choice", "choices": ["a", "b"], "answer": 2}, "not one of 2 choices"),
    ({"messages": [{"role": "assistant", "content": "hi"}]}, "must be the user's"),
    ({"messages": []}, "messages"),
    ({"check": {"kind": "magic"}}, "check.kind"),
    ({"id": None}, "id"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_broken_question_is_named_by_its_line(tmp_path, items, change, message):
    good = items[0].model_dump(mode="json")
    path = tmp_path / "exams.jsonl"
    path.write_text(
        json.dumps(good) + "\n" + json.dumps(good | {"id": "other"} | change) + "\n", encoding="utf-8"
    )
    with pytest.raises(JielongError, match=message) as caught:
        read_exam(path)
    assert f"{path}:2" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reading_an_exam_back_gives_the_same_questions(tmp_path, items):
    text = "".join(item.model_dump_json() + "\n" for item in items)
    (tmp_path / "exams.jsonl").write_text(text, encoding="utf-8")
    assert read_exam(tmp_path) == items
    (tmp_path / "exams.jsonl").write_text(text + items[0].model_dump_json() + "\n", encoding="utf-8")
    with pytest.raises(JielongError, match="repeats the question"):
        read_exam(tmp_path)
    (tmp_path / "exams.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(JielongError, match="no exam question"):
        read_exam(tmp_path)


def test_unknown_markers_are_those_of_the_exam(items):
    assert unknown_markers(items) == ["I don't know", "不知道"]
