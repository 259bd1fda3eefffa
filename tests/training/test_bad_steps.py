import math
import os
import shutil
import signal
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file

from jielong.core.errors import JielongError
from jielong.data import pack
from jielong.models import Transformer, qwen3_config
from jielong.training.batches import PackedBatches
from jielong.training.checkpoint import list_checkpoints
from jielong.training.health import Health
from jielong.training.interrupt import TrainingStoppedError
from jielong.training.loop import Trainer
from jielong.training.losses import next_token_loss
from jielong.training.metrics import read_metrics
from jielong.training.settings import TrainingSettings

POISON = 99
ROWS = 40


class Poisoned:
    """The usual loss, multiplied where the poisoned token is read. Notes the weights before every step."""

    def __init__(self, factor):
        self.factor = factor
        self.before = []

    def __call__(self, model, tokens, positions, segments, targets):
        self.before.append({name: weight.detach().clone() for name, weight in model.named_parameters()})
        bad = bool((tokens == POISON).any())
        return next_token_loss(model, tokens, positions, segments, targets) * (self.factor if bad else 1.0)


def trainer(folder, objective, poisoned_rows=(), **settings):
    sequences = [[1 + (row + i) % 50 for i in range(15)] for row in range(ROWS)]
    for row in poisoned_rows:
        sequences[row][3] = POISON
    values = {"steps": 80, "batch_rows": 1, "context": 16, "schedule": {"warmup": 2}, "precision": "float32",
              "compile": "no", "device": "cpu", **settings}  # fmt: skip
    return Trainer(
        model=Transformer(qwen3_config(64, 1, 100, 16), seed=0),
        batches=PackedBatches(pack(sequences, None, 16), 1, seed=0),
        objective=objective,
        settings=TrainingSettings.parse(values),
        folder=folder,
        quiet=True,
    )


def late_row():
    """The row that step 36 reads: by then it is known what a usual gradient is."""
    batches = PackedBatches(pack([[1 + row] * 15 for row in range(ROWS)], None, 16), 1, seed=0)
    return int(batches.draw(35, torch.device("cpu")).inputs.tokens[0, 0]) - 1


def steps_of(folder):
    return [row for row in read_metrics(folder / "metrics.jsonl") if "lr" in row]


def saved(folder):
    return [load_file(path / "model.safetensors") for path in list_checkpoints(folder / "checkpoints")]


def same(one, two):
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def all_finite(weights):
    return all(bool(tensor.isfinite().all()) for tensor in weights.values())


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_by_default_a_loss_that_is_not_finite_stops_the_run_before_it_touches_the_weights(tmp_path, factor):
    with pytest.raises(JielongError, match=r"step \d+: the loss is not finite; the last good checkpoint is"):
        trainer(tmp_path, Poisoned(factor), [5], checkpoint_every=2).run()
    assert saved(tmp_path)
    assert all(map(all_finite, saved(tmp_path)))


@pytest.mark.parametrize("factor", [math.nan, math.inf, 1e6])
def test_skipped_steps_leave_the_weights_as_they_were_and_are_logged(tmp_path, factor):
    objective = Poisoned(factor)
    run = trainer(tmp_path, objective, [late_row()], on_bad_step="skip")
    result = run.run()
    rows = steps_of(tmp_path)
    skipped = [row["step"] for row in rows if "skipped" in row]
    assert skipped[0] == 36
    assert len(skipped) == 2  # the poisoned row comes once an epoch
    assert result.skipped_steps == len(skipped)
    assert [row["step"] for row in rows] == list(range(1, 81))
    assert all(("loss" in row) != ("skipped" in row) for row in rows)
    weights = [*objective.before, dict(run.model.named_parameters())]
    for number, (before, after) in enumerate(pairwise(weights), 1):
        assert same(before, after) == (number in skipped)
    assert all_finite(weights[-1])


def test_a_run_without_bad_steps_is_the_same_under_either_setting(tmp_path):
    runs = [trainer(tmp_path / name, next_token_loss, on_bad_step=name) for name in ("stop", "skip")]
    for run in runs:
        run.run()
    assert same(*(dict(run.model.named_parameters()) for run in runs))


def test_skipping_ends_where_every_step_is_bad(tmp_path):
    broken = trainer(tmp_path, next_token_loss, on_bad_step="skip", max_skipped=3)
    with torch.no_grad():
        next(iter(broken.model.parameters()))[:] = math.nan
    with pytest.raises(
        JielongError, match="the loss is not finite, in 4 steps in a row; there is no checkpoint"
    ):
        broken.run()
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_weights_that_the_last_update_ruined_are_never_saved(tmp_path):
    # The gradient is finite, the update is not: only the weights tell, and after the last step comes no loss.
    ruined = trainer(
        tmp_path, next_token_loss, steps=3, checkpoint_every=1, optimizer={"lr": 1e38, "weight_decay": 10.0}
    )
    with pytest.raises(JielongError, match="diverged"):
        ruined.run()
    assert all(map(all_finite, saved(tmp_path)))


def test_the_statistics_equal_mean_and_deviation_and_a_spike_is_six_of_them():
    health = Health()
    settings = TrainingSettings(steps=1, on_bad_step="skip")
    norms = [math.exp(math.sin(n)) for n in range(40)]
    for norm in norms:
        assert health.judge(1.0, norm, settings) is None
    logs = torch.tensor([math.sin(n) for n in range(40)], dtype=torch.float64)
    assert health.mean == pytest.approx(float(logs.mean()))
    assert health.variance == pytest.approx(float(logs.var(correction=0)))
    edge = math.exp(health.mean + 6 * math.sqrt(health.variance))
    assert "spike" in health.judge(1.0, edge * 1.01, settings)
    assert health.judge(1.0, edge * 0.99, settings) is None
    assert health.skipped == 1


def test_the_count_of_bad_steps_survives_a_resume(tmp_path):
    runs = []
    for name in ("whole", "stopped"):
        settings = {"on_bad_step": "skip", "keep_every": 40}
        runs.append(trainer(tmp_path / name, Poisoned(math.nan), [5], **settings))
        runs[-1].run()
    shutil.rmtree(tmp_path / "stopped" / "checkpoints" / "step-000080")
    resumed = trainer(tmp_path / "stopped", Poisoned(math.nan), [5], **settings)
    assert resumed.run(resume=True).skipped_steps == 2
    assert len(resumed.objective.before) == 40
    assert same(*(dict(run.model.named_parameters()) for run in (runs[0], resumed)))


def test_a_step_that_ctrl_c_breaks_is_a_stop_and_not_a_crash(tmp_path):
    """Ctrl-C in a terminal goes to the C++ compiler of torch.compile too, which then fails."""
    steps = []

    def broken_by_ctrl_c(*arguments):
        steps.append(len(steps))
        if len(steps) == 5:
            os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("the compiler was interrupted")
        return next_token_loss(*arguments)

    with pytest.raises(TrainingStoppedError, match=r"stopped in step 5.*step-000003\. .*--resume"):
        trainer(tmp_path, broken_by_ctrl_c, checkpoint_every=3).run()
