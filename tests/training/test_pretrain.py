import time

import pytest
import torch
import yaml
from finished import assert_equal_weights, losses, weights
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from jielong.core.errors import JielongError
from jielong.models import load_model, read_lineage
from jielong.tokenizer import Tokenizer
from jielong.training.checkpoint import newest_checkpoint
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import PretrainSettings


def test_training_learns_and_makes_a_folder_that_transformers_opens(recipe):
    settings = recipe(steps=40)
    result = run_pretraining(settings, quiet=True)
    assert result.training.bits_per_byte < 0.8 * result.training.bits_per_byte_before
    ours, tokenizer = load_model(result.model), Tokenizer.load(result.model)
    theirs = AutoModelForCausalLM.from_pretrained(result.model, dtype=torch.float32)
    ids = torch.tensor([tokenizer.encode("小明有 7 顆蘋果。Ming has")])
    their_tokenizer = AutoTokenizer.from_pretrained(result.model)
    assert their_tokenizer("小明有 7 顆蘋果。Ming has")["input_ids"] == ids[0].tolist()
    assert their_tokenizer.model_max_length == settings.model.max_context
    with torch.no_grad():
        expected = theirs(ids).logits
        found = ours.head(ours(ids, torch.arange(ids.shape[1]).unsqueeze(0)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_the_same_recipe_gives_the_same_bytes_and_another_seed_others(recipe):
    one, two = recipe("one"), recipe("two")
    for settings in (one, two):
        run_pretraining(settings, quiet=True)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (one.out / "model" / name).read_bytes() == (two.out / "model" / name).read_bytes()
    other = recipe("three").model_copy(update={"seed": 1})
    run_pretraining(other, quiet=True)
    assert losses(other.out) != losses(one.out)


def test_accumulating_k_micro_batches_equals_one_batch(recipe):
    one, four = recipe("one", batch_rows=4, steps=5), recipe("four", batch_rows=1, accumulate=4, steps=5)
    for settings in (one, four):
        run_pretraining(settings, quiet=True)
    assert losses(four.out) == pytest.approx(losses(one.out), rel=1e-5)
    first, second = weights(one.out), weights(four.out)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-5)


def test_a_time_budget_is_kept_and_its_recipe_runs_again_to_the_same_bytes(recipe):
    timed = recipe("timed", steps=None, minutes=0.05)
    began = time.monotonic()
    result = run_pretraining(timed, quiet=True)
    assert result.training.seconds < 0.05 * 60 * 2
    assert time.monotonic() - began < 60
    again = PretrainSettings.parse(
        {**yaml.safe_load((timed.out / "recipe.yaml").read_text()), "out": timed.out.with_name("again")}
    )
    assert again.training.minutes is None
    assert again.training.steps == result.training.steps
    run_pretraining(again, quiet=True)
    assert_equal_weights(timed.out, again.out)


def test_a_time_budget_ends_early_where_the_epochs_do(recipe):
    seldom = {"validate_every": 100, "checkpoint_every": 100}
    result = run_pretraining(recipe(steps=None, minutes=30, epochs=4, **seldom), quiet=True)
    exact = run_pretraining(recipe("exact", steps=None, epochs=4, **seldom), quiet=True)
    # The border of the decay falls on whole steps.
    assert 0 <= exact.training.steps - result.training.steps <= 2


def test_divergence_stops_and_keeps_the_last_good_checkpoint(recipe):
    settings = recipe(steps=60, optimizer={"lr": 1e4, "clip": 1e9}, checkpoint_every=1)
    with pytest.raises(JielongError, match=r"diverged at step \d+.*last good checkpoint"):
        run_pretraining(settings, quiet=True)
    kept = newest_checkpoint(settings.out / "checkpoints")
    assert all(torch.isfinite(tensor).all() for tensor in load_file(kept / "model.safetensors").values())


def test_continuing_a_model_keeps_its_tokenizer_and_names_its_parent(recipe):
    first = recipe("first")
    run_pretraining(first, quiet=True)
    second = recipe("second").model_copy(update={"parent": first.out})
    result = run_pretraining(second, quiet=True)
    assert losses(second.out)[0] < losses(first.out)[0]
    lineage = read_lineage(result.model)
    assert lineage["parents"][0]["hash"] == read_lineage(first.out / "model")["hash"]


def test_nothing_to_train_on_is_one_clear_line(recipe, tmp_path):
    (tmp_path / "empty.jsonl").write_text("not json\n")
    settings = recipe().model_copy(update={"data": (tmp_path / "empty.jsonl",)})
    with pytest.raises(JielongError, match=r"no documents.*empty\.jsonl:1"):
        run_pretraining(settings, quiet=True)


def test_activation_checkpointing_changes_no_bit(recipe):
    plain, again = recipe("plain", steps=4), recipe("again", steps=4, activation_checkpointing=True)
    for settings in (plain, again):
        run_pretraining(settings, quiet=True)
    assert losses(plain.out) == losses(again.out)
    assert_equal_weights(plain.out, again.out)
