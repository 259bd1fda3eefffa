"""Learning from comparisons directly, end to end."""

import math

import pytest
from finished_run import assert_equal_weights, metrics_of

from jielong.feedback.dpo import run_preference_learning
from jielong.feedback.settings import PreferenceSettings


@pytest.fixture
def recipe(tmp_path, parent, comparisons):
    def make(name="run", **values):
        training = {"steps": 20, "batch_rows": 8, "precision": "float32", "compile": "no", "device": "cpu",
                    "optimizer": {"lr": 1e-3}, "schedule": {"warmup": 0},
                    **values.pop("training", {})}  # fmt: skip
        return PreferenceSettings.parse(
            {"out": tmp_path / name, "parent": parent, "data": [comparisons], "training": training, **values}
        )

    return make


@pytest.mark.parametrize("loss", ["dpo", "ipo", "kto", "orpo", "simpo"])
def test_chosen_answers_become_likelier_than_rejected_ones(recipe, loss):
    run = recipe(loss, loss=loss, **({"beta": 2.0} if loss == "simpo" else {}))
    run_preference_learning(run, quiet=True)
    rows = metrics_of(run.out)
    assert rows[-1]["loss"] < rows[0]["loss"]
    gap = [
        row["margin"] if "margin" in row else row["reward_desirable"] - row["reward_undesirable"]
        for row in rows
        if {"reward_desirable", "reward_undesirable"} <= row.keys()
        or "margin" in row  # thumbs may all be alike
    ]
    assert gap[-1] > gap[0] + 0.05


def test_the_first_loss_is_that_of_equal_policies(recipe):
    run = recipe(training={"steps": 1})
    run_preference_learning(run, quiet=True)
    (row,) = metrics_of(run.out)
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert row["margin"] == pytest.approx(0, abs=1e-4)


def test_accumulated_micro_batches_give_the_step_of_one_batch(recipe):
    one = recipe("one", training={"steps": 3, "batch_rows": 8})
    many = recipe("many", training={"steps": 3, "batch_rows": 2, "accumulate": 4})
    for run in (one, many):
        run_preference_learning(run, quiet=True)
    for first, second in zip(metrics_of(one.out), metrics_of(many.out), strict=True):
        assert first["loss"] == pytest.approx(second["loss"], abs=1e-5)
        assert first["grad_norm"] == pytest.approx(second["grad_norm"], rel=1e-3)
        assert first["accuracy"] == second["accuracy"]


def test_a_resumed_run_ends_bit_for_bit_alike(recipe):
    whole, half = (recipe(name, training={"steps": 8, "checkpoint_every": 4}) for name in ("whole", "half"))
    run_preference_learning(whole, quiet=True)
    run_preference_learning(half, quiet=True)
    last = half.out / "checkpoints" / "step-000008"
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    run_preference_learning(half, resume=True, quiet=True)
    assert_equal_weights(whole.out, half.out)
