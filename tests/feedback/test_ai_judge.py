"""A language model as a judge: what it is asked, and what counts as a verdict."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jielong.core.errors import JielongError
from jielong.data import Problems
from jielong.feedback.ai_judge import Comparison, judge_pairs, write_ai_preferences
from jielong.feedback.preferences import read_preferences
from jielong.generation import Engine
from jielong.lm import RemoteSettings
from jielong.lm.local import LocalModel
from jielong.lm.remote import RemoteModel
from jielong.models import Transformer, qwen3_config
from jielong.tokenizer import Tokenizer

sys.path.append(str(Path(__file__).parents[1] / "lm"))
from scripted_server import Reply, chat, scripted

ASKED = [{"role": "user", "content": "台灣最高的山？"}]


def said(text):
    return [{"role": "assistant", "content": text}]


def answers_of(body):
    """The two answers that a judge was shown, in the order shown."""
    text = body["messages"][0]["content"]
    parts = text.replace("[Answer B]", "[Answer A]").split("[Answer A]\n")[1:]
    return [part.split("\n\n")[0] for part in parts]


def judge_that(prefers):
    """A server whose verdict is a function of the two answers shown."""

    def reply(number, heard):
        return Reply(chat(json.dumps({"reason": "因為", "better": prefers(*answers_of(heard.body))})))

    return scripted(reply)


def asking(server):
    return RemoteModel(server.url, RemoteSettings.parse({"model": "judge-1", "first_wait": 0.01}))


COMPARISONS = [
    Comparison("1", ASKED, said("玉山"), said("不知道")),
    Comparison("2", ASKED, said("雪山"), said("玉山")),
]


def test_the_better_answer_is_found_wherever_it_stands():
    with (
        judge_that(lambda first, _second: "A" if "玉山" in first else "B") as server,
        asking(server) as judge,
    ):
        verdicts = judge_pairs(judge, COMPARISONS)
    assert [verdict.better for verdict in verdicts] == ["first", "second"]
    assert all(verdict.consistent for verdict in verdicts)
    shown = sorted(answers_of(heard.body) for heard in server.heard)
    both = [["玉山", "不知道"], ["不知道", "玉山"], ["雪山", "玉山"], ["玉山", "雪山"]]
    assert shown == sorted(both)
    assert all("台灣最高的山？" in heard.body["messages"][0]["content"] for heard in server.heard)


def test_a_judge_that_likes_what_stands_first_decides_nothing():
    with judge_that(lambda _first, _second: "A") as server, asking(server) as judge:
        verdicts = judge_pairs(judge, COMPARISONS)
    assert [verdict.better for verdict in verdicts] == ["neither", "neither"]
    assert not any(verdict.consistent for verdict in verdicts)


def test_what_is_not_in_the_form_asked_for_is_no_verdict():
    for text in ("A", '{"better": "C"}', "[1]", '{"reason": "x"}'):
        with scripted(Reply(chat(text))) as server, asking(server) as judge:
            (verdict,) = judge_pairs(judge, COMPARISONS[:1])
        assert verdict.better == "neither"
        assert verdict.said == ("unclear", "unclear")


def test_a_model_in_this_process_judges_in_the_form_asked_for(tmp_path, parent):
    tokenizer = Tokenizer.load(parent)
    config = replace(qwen3_config(32, 1, tokenizer.vocab_size, 4096), initializer_range=0.1)
    engine = Engine(Transformer(config, seed=2).eval(), tokenizer)
    with LocalModel(engine, "tiny") as judge:
        verdicts = judge_pairs(judge, COMPARISONS)
    assert all(said in ("A", "B", "neither") for verdict in verdicts for said in verdict.said)


def test_preferences_say_who_judged_and_are_read_again(tmp_path):
    rows = [
        {"prompt": ASKED, "completions": ["不知道", "玉山", "不知道", "雪山"]},
        {"prompt": "高雄舊稱？", "chosen": "打狗", "rejected": "台北"},
    ]
    file, out = tmp_path / "answers.jsonl", tmp_path / "preferences.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    ranks = {"玉山": 2, "雪山": 1, "不知道": 0, "打狗": 0, "台北": 1}

    def prefers(first, second):
        return "A" if ranks[first] > ranks[second] else "B"

    with judge_that(prefers) as server, asking(server) as judge:
        figures = write_ai_preferences(judge, [file], out)
    assert (figures["comparisons"], figures["decided"], figures["consistent"]) == (3, 3, 1.0)
    assert figures["said_A"] == 0.5
    assert [json.loads(line)["judge"] for line in out.read_text().splitlines()] == [judge.name] * 3
    pairs = list(read_preferences([out], Problems()))
    found = [(pair.chosen[0]["content"], pair.rejected[0]["content"]) for pair in pairs]
    # The judge overrules what the file said; answers that are the same are compared once.
    assert found == [("玉山", "不知道"), ("玉山", "雪山"), ("台北", "打狗")]


def test_nothing_to_compare_is_one_clear_line(tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text(json.dumps({"prompt": ASKED, "completions": ["玉山", "玉山"]}) + "\n")
    with (
        scripted(Reply(chat())) as server,
        asking(server) as judge,
        pytest.raises(JielongError, match="no two answers"),
    ):
        write_ai_preferences(judge, [file], tmp_path / "out.jsonl")
