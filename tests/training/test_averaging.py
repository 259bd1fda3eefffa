import shutil

import pytest
import torch
from safetensors.torch import load_file

from jielong.core.errors import UsageError
from jielong.training.checkpoint import list_checkpoints, step_of
from jielong.training.pretrain import run_pretraining


def saved(run, step):
    return load_file(run / "checkpoints" / f"step-{step:06d}" / "model.safetensors")


def test_the_model_is_the_moving_average_of_the_tail(recipe):
    settings = recipe(steps=12, average={"decay": 0.7, "tail": 0.5}, checkpoint_every=1, keep_every=1)
    result = run_pretraining(settings, quiet=True)
    expected = saved(settings.out, 7)  # after the first of the last six steps
    for step in range(8, 13):
        weights = saved(settings.out, step)
        expected = {name: 0.7 * tensor + 0.3 * weights[name] for name, tensor in expected.items()}
    kept = load_file(settings.out / "checkpoints" / "step-000012" / "average.safetensors")
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, expected[name])
    found = load_file(result.model / "model.safetensors")
    embedding = next(tensor for name, tensor in found.items() if "embed_tokens" in name)
    assert torch.equal(embedding, kept["embed.weight"])
    assert not torch.equal(embedding, saved(settings.out, 12)["embed.weight"])


def test_off_by_default_and_without_effect_on_the_steps(recipe):
    plain, averaged = recipe("plain"), recipe("averaged", average={"decay": 0.9})
    for settings in (plain, averaged):
        run_pretraining(settings, quiet=True)
    first, second = saved(plain.out, 12), saved(averaged.out, 12)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert load_file(plain.out / "checkpoints" / "step-000012" / "average.safetensors") == {}


@pytest.mark.parametrize("after", [5, 10])
def test_the_average_survives_a_resume_bit_for_bit(recipe, after):
    shape = {"average": {"decay": 0.9, "tail": 0.4}, "keep_checkpoints": 9}
    whole, stopped = recipe("whole", **shape), recipe("stopped", **shape)
    for settings in (whole, stopped):
        run_pretraining(settings, quiet=True)
    for path in list_checkpoints(stopped.out / "checkpoints"):
        if step_of(path) > after:
            shutil.rmtree(path)
    run_pretraining(stopped, resume=True, quiet=True)
    models = [(run / "model" / "model.safetensors").read_bytes() for run in (whole.out, stopped.out)]
    assert models[0] == models[1]


def test_a_tail_that_a_time_budget_cannot_know_is_refused(recipe):
    settings = recipe(steps=None, minutes=1, average={"decay": 0.9, "tail": 0.8})
    with pytest.raises(UsageError, match=r"average\.tail is 0\.8.*give steps, or a shorter tail"):
        run_pretraining(settings, quiet=True)
