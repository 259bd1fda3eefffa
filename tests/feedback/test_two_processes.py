"""Learning from feedback in two real processes, started by torchrun: the steps that one process takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from feedback_runs import STAGES, run
from finished_run import assert_equal_weights, metrics_of

SCRIPT = Path(__file__).with_name("feedback_runs.py")
# Sums over a batch are rounded differently when it is cut in two, and Adam's first steps follow signs.
TOLERANCE = 1e-5
RL = {
    "grpo": {"algorithm": "grpo", "samples": 4},
    "ppo": {"algorithm": "ppo", "epochs": 1, "samples": 1, "kl": {"coefficient": 0.1}},
    "rloo": {"algorithm": "rloo", "samples": 4, "kl": {"coefficient": 0.1}},
    "reinforce++": {"algorithm": "reinforce++", "samples": 1, "kl": {"coefficient": 0.1}},
    "dapo": {"algorithm": "dapo", "samples": 4},
}
LOSSES = ("dpo", "kto", "simpo")
TWO_PASSES = {
    "algorithm": "ppo", "epochs": 2, "samples": 1, "kl": {"coefficient": 0.1, "target": 0.5},
    "training": {"steps": 12, "checkpoint_every": 4, "keep_checkpoints": 9},
}  # fmt: skip


class Runs:
    """Recipes and run folders in one folder."""

    def __init__(self, folder, parent):
        self.folder, self.parent = folder, parent
        prompts = [{"prompt": f"How many are {n} + 1?"} for n in range(12)]
        pairs = [
            {"prompt": f"What are {n}?", "chosen": f"{n} apples", "rejected": f"{n % 7} 山"}
            for n in range(30)
        ]
        for name, rows in (("prompts", prompts), ("pairs", pairs)):
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.jobs = []

    def job(self, stage, name, *, of_job=(), training=(), **values):
        """A recipe, written down, as a job."""
        training = {
            "steps": 2, "batch_rows": 16 if stage == "rl" else 8, "precision": "float32", "compile": "no",
            "device": "cpu", "validate_every": 100, "optimizer": {"lr": 1e-3}, "schedule": {"warmup": 0},
            **dict(training),
        }  # fmt: skip
        if stage == "rl":
            values = {
                "prompts": [self.folder / "prompts.jsonl"], "max_tokens": 8, "no_end_penalty": 0.5,
                "rewards": [{"kind": "format", "pattern": "[aeiou山]"}],
                "prompts_per_rollout": 32 // values["samples"], **values,
            }  # fmt: skip
        else:
            values = {"data": [self.folder / "pairs.jsonl"], **values}
        recipe = {"parent": self.parent, "out": self.folder / name, "training": training, **values}
        path = self.folder / f"{name}.yaml"
        path.write_text(STAGES[stage][0].parse(recipe).to_yaml())
        return {"stage": stage, "recipe": str(path), **dict(of_job)}

    def both(self, stage, name, **values):
        """Run a recipe here, and list it for two processes."""
        assert run(self.job(stage, f"{name}-alone", **values)) == {}
        self.jobs.append(self.job(stage, name, **values))

    def together(self):
        """Run all that is listed in two processes."""
        listed = self.folder / "jobs.json"
        listed.write_text(json.dumps(self.jobs))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        done = subprocess.run(
            [*command, str(SCRIPT), str(listed)],
            capture_output=True, text=True, timeout=200, check=False,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(listed.with_suffix(".errors-0").read_text())

    def rollout(self, name, processes):
        """All answers of the first rollout, in the order of the prompts."""
        parts = [
            json.loads((self.folder / f"{name}.{rank}-of-{processes}.json").read_text())
            for rank in range(processes)
        ]
        return [answer for answers in zip(*parts, strict=True) for answer in answers]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, parent):
    torch.set_num_threads(1)
    runs = Runs(tmp_path_factory.mktemp("runs"), parent)
    for name, values in RL.items():
        runs.both("rl", name, **values)
        runs.both("rl", f"{name}-rollout", of_job={"only_rollout": True}, **values)
    for loss in LOSSES:
        runs.both("dpo", loss, loss=loss)
    runs.both("reward", "reward", heldout_share=0.2)
    runs.jobs.append(runs.job("rl", "uneven", algorithm="dapo", samples=3, prompts_per_rollout=16,
                              training={"batch_rows": 24}))  # fmt: skip
    longer = {"steps": 6, "checkpoint_every": 3, "keep_checkpoints": 9}
    for stage, name, values in (
        ("rl", "passes", TWO_PASSES),
        ("dpo", "pairs", {"training": longer}),
        ("reward", "scores", {"training": longer}),
    ):  # fmt: skip
        step = 4 if stage == "rl" else 3
        runs.jobs.append(runs.job(stage, name, **values))
        resumed = {"goes_on_with": name, "step": step}
        runs.jobs.append(runs.job(stage, f"{name}-resumed", of_job=resumed, **values))
    runs.errors = runs.together()
    return runs


@pytest.mark.parametrize("name", RL)
def test_two_processes_roll_the_answers_of_one(runs, name):
    alone, together = (
        runs.rollout(f"{name}-{kind}", n) for kind, n in (("rollout-alone", 1), ("rollout", 2))
    )
    assert [answer[0] for answer in together] == [answer[0] for answer in alone]
    assert [answer[1:-1] for answer in together] == [answer[1:-1] for answer in alone]
    for one, two in zip(alone, together, strict=True):
        assert two[-1] == pytest.approx(one[-1], abs=TOLERANCE)
    assert len({tuple(answer[0]) for answer in alone}) > 8
    assert any(answer[-1][0] for answer in alone)


@pytest.mark.parametrize("name", [*RL, *LOSSES, "reward"])
def test_two_processes_take_the_steps_of_one(runs, name):
    alone, together = metrics_of(runs.folder / f"{name}-alone"), metrics_of(runs.folder / name)
    assert len(alone) == len(together) == 2
    # Answers to one prompt share it where they are in one process, so fewer tokens are read.
    apart = {"seconds", "tokens_per_second", *(["tokens"] if name in RL else [])}
    told = set(alone[0]) - apart
    assert told == set(together[0]) - apart
    for one, two in zip(alone, together, strict=True):
        for key in told:
            # A ratio at the border may be on either side of it.
            tolerance = 0.05 if key.startswith("clipped") else TOLERANCE
            assert two[key] == pytest.approx(one[key], rel=1e-4, abs=tolerance), key


@pytest.mark.parametrize("name", ["passes", "pairs", "scores"])
def test_two_processes_resumed_end_bit_for_bit_alike(runs, name):
    assert runs.errors.get(f"{name}-resumed") is None
    assert_equal_weights(runs.folder / name, runs.folder / f"{name}-resumed")
    assert (
        metrics_of(runs.folder / name)[-1]["loss"] == metrics_of(runs.folder / f"{name}-resumed")[-1]["loss"]
    )


def test_groups_that_cannot_be_shared_evenly_are_refused(runs):
    assert "samples = 3 cannot be shared by 2 processes" in runs.errors["uneven"]
