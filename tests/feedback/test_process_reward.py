"""Process reward models: steps in, a mark for each out."""

import json
from pathlib import Path

import pytest
from finished_run import metrics_of

from jielong.core.errors import JielongError
from jielong.data import Problems
from jielong.feedback.preferences import read_preferences
from jielong.feedback.process_reward import report_of_steps
from jielong.feedback.records import Steps
from jielong.feedback.reward_model import RewardModel, run_reward_modelling
from jielong.feedback.settings import RewardSettings

REAL = Path(__file__).parents[3] / "shared" / "data" / "math" / "bigbench_mistake.jsonl.zst"


@pytest.fixture
def steps(tmp_path):
    """Answers of three steps, of which those about mountains are wrong."""
    path = tmp_path / "steps.jsonl"
    good, bad = "3 apples and", "山 山"
    rows = []
    for n in range(48):
        wrong = {3: None}.get(n % 4, n % 4)
        labels = [place != wrong for place in range(3)]
        rows.append({
            "prompt": f"How many are {n}?", "completions": [good if right else bad for right in labels],
            "labels": labels,
        })  # fmt: skip
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def recipe(tmp_path, parent, data, **training):
    training = {"steps": 40, "batch_rows": 8, "precision": "float32", "compile": "no", "device": "cpu",
                "optimizer": {"lr": 3e-3}, "schedule": {"warmup": 0}, **training}  # fmt: skip
    return RewardSettings.parse({
        "out": tmp_path / "run", "parent": parent, "data": data, "process": True, "heldout_share": 0.3,
        "training": training,
    })  # fmt: skip


def test_it_learns_which_step_is_wrong(tmp_path, parent, steps):
    run = recipe(tmp_path, parent, [steps])
    result = run_reward_modelling(run, quiet=True)
    rows = metrics_of(run.out)
    assert rows[0]["loss"] == pytest.approx(0.6931, abs=1e-3)  # a fresh head cannot tell
    assert rows[-1]["accuracy"] > 0.95
    report = json.loads((run.out / "report.json").read_text())
    assert report["steps"] == 3 * report["answers"] > 20
    assert result.extra["step_accuracy"] > 0.95
    assert result.extra["first_error_found"] > 0.9
    chat = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "3"}]
    assert RewardModel.load(result.model).score([chat])


def test_pairs_have_no_steps(tmp_path, parent, comparisons):
    with pytest.raises(JielongError, match="preference without steps"):
        run_reward_modelling(recipe(tmp_path, parent, [comparisons]), quiet=True)


def test_the_report_tells_trust_and_distrust_from_judgement():
    labels = [[True, True], [True, False], [False], [True]]
    trusting = report_of_steps([[True] * len(one) for one in labels], labels)
    assert (trusting.first_error_found, trusting.whole_answers_passed, trusting.f1) == (0, 1, 0)
    assert trusting.step_accuracy == trusting.right_steps == pytest.approx(4 / 6)
    distrusting = report_of_steps([[False] * len(one) for one in labels], labels)
    assert (distrusting.first_error_found, distrusting.whole_answers_passed, distrusting.f1) == (0.5, 0, 0)
    judging = report_of_steps([[True, False], [True, False], [False], [True]], labels)
    assert (judging.first_error_found, judging.whole_answers_passed) == (1, 0.5)
    assert judging.f1 == pytest.approx(2 / 3)
    assert judging.interval[0] < judging.step_accuracy < judging.interval[1]


def test_a_mistake_marks_what_comes_before_it_and_nothing_behind_it(tmp_path):
    rows = [
        {"input": "1 + 1?", "steps": ["a", "b", "c"], "mistake_index": 1},
        {"input": "1 + 1?", "steps": ["a", "b"], "mistake_index": None},
        {"input": "1 + 1?", "steps": ["a", "b"], "mistake_index": 2},
        {"input": "1 + 1?", "steps": ["a", "b"]},
    ]
    path = tmp_path / "mistakes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems = Problems()
    first, second = read_preferences([path], problems)
    assert (first.steps, first.labels) == (("a", "b"), (True, False))
    assert second.labels == (True, True)
    assert sum(problems.counts.values()) == 2


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is not there")
def test_real_mistakes_are_read():
    problems = Problems()
    records = list(read_preferences([REAL], problems))
    assert len(records) > 1300
    assert all(isinstance(record, Steps) for record in records)
    assert sum(not all(record.labels) for record in records) > 900
    assert all(all(record.labels[:-1]) for record in records)
