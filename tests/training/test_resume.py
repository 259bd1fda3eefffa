import json
import shutil

import pytest
import torch
import yaml
from finished import assert_equal_weights, losses, weights

from jielong.core.errors import JielongError, UsageError
from jielong.models import read_lineage
from jielong.training.checkpoint import list_checkpoints, newest_checkpoint, read_progress, step_of
from jielong.training.metrics import read_metrics
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import PretrainSettings


def kept(run):
    return [step_of(path) for path in list_checkpoints(run / "checkpoints")]


def stopped(settings, after):
    """Run to the end, then take away what a kill after the checkpoint of step `after` leaves unwritten."""
    run_pretraining(settings, quiet=True)
    shutil.rmtree(settings.out / "model")
    for path in list_checkpoints(settings.out / "checkpoints"):
        if step_of(path) > after:
            shutil.rmtree(path)
    assert kept(settings.out)[-1] == after


def changed(settings, **training):
    return PretrainSettings.parse(
        {**settings.model_dump(), "training": {**settings.training.model_dump(), **training}}
    )


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(recipe):
    whole, halved = recipe("whole"), recipe("halved")
    run_pretraining(whole, quiet=True)
    stopped(halved, after=10)
    run_pretraining(halved, resume=True, quiet=True)
    assert_equal_weights(whole.out, halved.out)
    assert losses(whole.out) == losses(halved.out)
    measured = [read_lineage(run / "model")["measured"] for run in (whole.out, halved.out)]
    assert measured[0] == measured[1]


def test_a_finished_run_resumes_to_the_same_model(recipe):
    settings = recipe()
    run_pretraining(settings, quiet=True)
    before, shown = (settings.out / "model" / "model.safetensors").read_bytes(), losses(settings.out)
    shutil.rmtree(settings.out / "model")
    run_pretraining(settings, resume=True, quiet=True)
    assert (settings.out / "model" / "model.safetensors").read_bytes() == before
    assert losses(settings.out) == shown


def test_a_damaged_checkpoint_is_passed_over(recipe):
    settings = recipe()
    run_pretraining(settings, quiet=True)
    newest = newest_checkpoint(settings.out / "checkpoints")
    broken = bytearray((newest / "model.safetensors").read_bytes())
    broken[-1] ^= 1
    (newest / "model.safetensors").write_bytes(broken)
    assert newest.name == "step-000012"
    assert newest_checkpoint(settings.out / "checkpoints").name == "step-000010"


def test_the_random_generator_goes_on_where_it_was(recipe):
    settings = recipe()
    torch.manual_seed(7)
    stopped(settings, after=10)
    expected = torch.rand(3)
    torch.manual_seed(8)
    run_pretraining(settings, resume=True, quiet=True)
    assert torch.equal(torch.rand(3), expected)


def test_resuming_with_other_data_is_refused_and_the_file_is_named(recipe, corpus):
    settings = recipe()
    stopped(settings, after=10)
    corpus.write_text(corpus.read_text() + json.dumps({"text": "一個新的文件"}) + "\n")
    size = corpus.stat().st_size
    with pytest.raises(UsageError, match=rf"data changed.*documents.*corpus\.jsonl: .* -> {size:,} bytes"):
        run_pretraining(settings, resume=True, quiet=True)
    run_pretraining(settings, resume=True, quiet=True, force=True)
    assert len(losses(settings.out)) == 12


def test_resuming_with_another_recipe_is_refused_and_the_settings_are_named(recipe):
    settings = recipe()
    stopped(settings, after=10)
    other = changed(settings, optimizer={"lr": 0.001}, batch_rows=2, validate_every=3, keep_checkpoints=1)
    words = r"training\.batch_rows: 4 -> 2; training\.optimizer\.lr: 0\.003 -> 0\.001\. "
    with pytest.raises(UsageError, match=words) as refusal:
        run_pretraining(other, resume=True, quiet=True)
    assert "validate_every" not in str(refusal.value), "what leaves the weights as they are may change"
    written = PretrainSettings.load(settings.out / "recipe.yaml")
    assert written.training.batch_rows == 4, "a refused recipe is not written"
    run_pretraining(other, resume=True, quiet=True, force=True)
    rates = [row["lr"] for row in read_metrics(settings.out / "metrics.jsonl") if "lr" in row]
    assert max(rates[:10]) == 0.003
    assert max(rates[10:]) < 0.001


def test_the_recipe_that_a_finished_run_wrote_is_no_change(recipe):
    settings = recipe(precision="auto", compile="auto", device="auto")
    run_pretraining(settings, quiet=True)
    written = PretrainSettings.load(settings.out / "recipe.yaml")
    assert written.training.precision != "auto"
    run_pretraining(changed(written, steps=14), resume=True, quiet=True)
    assert len(losses(settings.out)) == 14


def test_an_unfinished_run_is_not_overwritten_by_mistake(recipe):
    settings = recipe()
    stopped(settings, after=10)
    with pytest.raises(UsageError, match="stopped after step 10: --resume goes on"):
        run_pretraining(settings, quiet=True)
    assert kept(settings.out)[-1] == 10
    shorter = changed(settings, steps=4)
    run_pretraining(shorter, quiet=True, force=True)
    assert kept(settings.out) == [2, 4], "of the run before nothing is left"
    run_pretraining(shorter, quiet=True)
    assert len(losses(settings.out)) == 4


@pytest.mark.parametrize("average", [{}, {"decay": 0.8, "tail": 0.75}])
def test_a_run_made_longer_is_the_run_that_was_long_from_the_start(recipe, average):
    short, long = recipe("short", steps=12, average=average), recipe("long", steps=20, average=average)
    run_pretraining(long, quiet=True)
    run_pretraining(short, quiet=True)
    assert kept(short.out)[-1] == 12
    run_pretraining(changed(short, steps=20), resume=True, quiet=True)
    assert_equal_weights(long.out, short.out)
    assert losses(long.out) == losses(short.out)


def test_a_length_that_no_checkpoint_fits_is_refused_with_the_way_out(recipe):
    settings = recipe()
    run_pretraining(settings, quiet=True)
    for path in list_checkpoints(settings.out / "checkpoints"):
        if step_of(path) <= 6:
            shutil.rmtree(path)
    longer = changed(settings, steps=20)
    with pytest.raises(UsageError, match=r"step 6\); make its model the `parent`.*--force"):
        run_pretraining(longer, resume=True, quiet=True)
    run_pretraining(longer, resume=True, quiet=True, force=True)
    assert len(losses(settings.out)) == 20
    with pytest.raises(UsageError, match="cannot change the length"):
        run_pretraining(changed(settings, steps=3), resume=True, quiet=True, force=True)


def test_a_time_budget_keeps_the_length_that_it_had_fixed_and_can_be_made_longer(recipe):
    timed = recipe("timed", steps=None, minutes=0.03, checkpoint_every=1, keep_checkpoints=2)
    done = run_pretraining(timed, quiet=True)
    branch = kept(timed.out)[0]
    whole = weights(timed.out)
    assert branch < done.training.steps
    shutil.rmtree(newest_checkpoint(timed.out / "checkpoints"))
    shutil.rmtree(timed.out / "model")
    assert read_progress(newest_checkpoint(timed.out / "checkpoints")).total == done.training.steps
    run_pretraining(timed, resume=True, quiet=True)
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights(timed.out).items())
    longer = changed(timed, minutes=0.05)
    again = run_pretraining(longer, resume=True, quiet=True)
    assert again.training.steps > done.training.steps


def test_a_time_budget_is_repeated_by_the_recipe_it_wrote_with_its_average_too(recipe):
    timed = recipe("timed", steps=None, minutes=0.03, average={"decay": 0.9, "tail": 0.5})
    run_pretraining(timed, quiet=True)
    values = yaml.safe_load((timed.out / "recipe.yaml").read_text())
    again = PretrainSettings.parse({**values, "out": timed.out.with_name("again")})
    run_pretraining(again, quiet=True)
    assert_equal_weights(timed.out, again.out)


def test_checkpoints_of_every_so_many_steps_stay(recipe):
    settings = recipe(keep_every=4, checkpoint_every=1, keep_checkpoints=1)
    run_pretraining(settings, quiet=True)
    assert kept(settings.out) == [4, 6, 8, 12]


def test_another_optimizer_cannot_be_forced(recipe):
    settings = recipe()
    stopped(settings, after=10)
    other = changed(settings, optimizer={"name": "muon"})
    with pytest.raises(JielongError, match=r"does not fit this run.*optimizer\.name"):
        run_pretraining(other, resume=True, quiet=True, force=True)
