"""Reinforcement learning end to end on a network of a few thousand weights."""

import json

import pytest
import torch
from finished_run import assert_equal_weights, metrics_of
from safetensors.torch import load_file

from jielong.core.errors import UsageError
from jielong.feedback.rl_stage import run_rl
from jielong.feedback.settings import PRESETS, RlSettings


@pytest.fixture
def recipe(tmp_path, parent, prompts):
    """Answers of a few tokens; an answer earns 1 where it holds an apple."""

    def make(name="run", **values):
        training = {"steps": 4, "batch_rows": 16, "precision": "float32", "compile": "no", "device": "cpu",
                    "validate_every": 100, "optimizer": {"lr": 3e-3}, "schedule": {"warmup": 0},
                    **values.pop("training", {})}  # fmt: skip
        return RlSettings.parse({
            "out": tmp_path / name, "parent": parent, "prompts": [prompts], "max_tokens": 8,
            "rewards": [{"kind": "format", "pattern": "apple"}], "no_end_penalty": 0.0,
            "prompts_per_rollout": 4, "samples": 4, "training": training, **values,
        })  # fmt: skip

    return make


@pytest.mark.parametrize("algorithm", PRESETS)
def test_every_algorithm_runs_and_its_fresh_rollouts_have_ratio_one(recipe, algorithm):
    one_pass = {"epochs": 1} if algorithm == "ppo" else {}
    run = recipe(algorithm, algorithm=algorithm, samples=4, prompts_per_rollout=8, **one_pass)
    assert run.steps_per_rollout == 2
    run_rl(run, quiet=True)
    rows = metrics_of(run.out)
    assert len(rows) == 4
    for row in rows[::2]:  # the first step of each rollout
        assert row["ratio"] == 1.0
        assert row["clipped_low"] == row["clipped_high"] == 0.0


@pytest.mark.parametrize("algorithm", ["grpo", "ppo", "rloo", "reinforce++"])
def test_what_is_rewarded_becomes_likely(recipe, algorithm):
    run = recipe(
        algorithm, algorithm=algorithm, prompts_per_rollout=8, samples=4,
        rewards=[{"kind": "format", "pattern": "山"}], kl={"coefficient": 0.0},
        training={"steps": 60, "batch_rows": 32, "optimizer": {"lr": 1e-2}},
    )  # fmt: skip
    run_rl(run, quiet=True)
    scores = [row["score"] for row in metrics_of(run.out)]
    assert sum(scores[-5:]) / 5 > sum(scores[:5]) / 5 + 0.3


def test_the_divergence_is_kept_near_its_target(recipe):
    free, held = (
        recipe(name, algorithm="ppo", prompts_per_rollout=32, epochs=1, kl={"coefficient": c},
               rewards=[{"kind": "format", "pattern": "山"}],
               training={"steps": 40, "batch_rows": 32, "optimizer": {"lr": 1e-2}})
        for name, c in (("free", 1e-6), ("held", 1.0))
    )  # fmt: skip
    run_rl(free, quiet=True)
    run_rl(held, quiet=True)
    assert metrics_of(held.out)[-1]["kl"] < 0.5 * metrics_of(free.out)[-1]["kl"]


def test_a_run_that_leaves_its_reference_too_far_ends_early(recipe):
    run = recipe(kl={"coefficient": 0.01, "stop_at": 1e-9}, training={"steps": 50})
    run_rl(run, quiet=True)
    assert len(metrics_of(run.out)) < 10
    assert (run.out / "model" / "model.safetensors").is_file()
    run_rl(run, quiet=True)  # it has ended, so that another one may begin there


def test_a_resumed_run_ends_bit_for_bit_like_one_without_a_stop(recipe):
    values = {"algorithm": "ppo", "prompts_per_rollout": 8, "samples": 4, "epochs": 2,
              "kl": {"coefficient": 0.1, "target": 0.5}}  # fmt: skip
    whole = recipe("whole", **values, training={"steps": 12, "checkpoint_every": 5})
    run_rl(whole, quiet=True)
    steps = sorted(path.name for path in (whole.out / "checkpoints").iterdir())
    # A rollout is four steps, and a run stops between two.
    assert all(int(name.removeprefix("step-")) % whole.steps_per_rollout == 0 for name in steps)
    half = recipe("half", **values, training={"steps": 12, "checkpoint_every": 4, "keep_checkpoints": 9})
    run_rl(half, quiet=True)
    for name in ("step-000008", "step-000012"):
        for file in (half.out / "checkpoints" / name).iterdir():
            file.unlink()
        (half.out / "checkpoints" / name).rmdir()
    run_rl(half, resume=True, quiet=True)
    assert_equal_weights(whole.out, half.out)


def test_the_critic_is_not_in_the_model_folder(recipe):
    for critic in ("separate", "shared"):
        run = recipe(critic, algorithm="ppo", critic=critic, prompts_per_rollout=16, epochs=1)
        run_rl(run, quiet=True)
        names = load_file(run.out / "model" / "model.safetensors")
        assert not any("critic" in name or "score" in name for name in names)


def test_narrower_rollout_weights_are_corrected_for(recipe):
    run = recipe(rollout_weights="bfloat16")
    run_rl(run, quiet=True)
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in metrics_of(run.out))


def test_groups_that_teach_nothing_are_drawn_again(recipe):
    run = recipe(algorithm="dapo", rewards=[{"kind": "format", "pattern": "[aeiou]"}])
    run_rl(run, quiet=True)
    assert all(row["grad_norm"] > 0 for row in metrics_of(run.out))


def test_settings_that_do_not_fit_are_refused(recipe):
    with pytest.raises(UsageError, match="needs a critic"):
        recipe(algorithm="ppo", critic="none")
    with pytest.raises(UsageError, match="samples must be 2"):
        recipe(samples=1, prompts_per_rollout=16)
    with pytest.raises(UsageError, match="does not divide"):
        recipe(samples=3)
    with pytest.raises(UsageError, match="side safe"):
        run_rl(recipe(combine="gate"), quiet=True)


def test_recipes_say_what_an_algorithm_stands_for(recipe):
    dapo = recipe(algorithm="dapo")
    assert (dapo.clip_high, dapo.dynamic_sampling) == (0.28, True)
    assert recipe(algorithm="dapo", clip_high=0.2).clip_high == 0.2
    assert json.loads(dapo.model_dump_json())["kl"]["coefficient"] == 0.0
