"""Limits of the machine, and the memory formula against the tensors of real networks."""

import pytest
import torch

from jielong.models import Transformer, flops_per_token, qwen3_config
from jielong.training.losses import next_token_loss
from jielong.training.machine import measure_limits
from jielong.training.memory import training_memory
from jielong.training.metrics import read_metrics
from jielong.training.optimizer import build_optimizers
from jielong.training.peak import (
    Peak,
    data_sheet_flops,
    matmul_peak,
    measure_square_matmul,
    model_flops_utilisation,
)
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import OptimizerSettings
from jielong.training.speed import measure_training_speed


def test_limits_are_measured_and_consistent():
    limits = measure_limits(seconds=1.0)
    assert {rate.precision for rate in limits.matmul} == {"bfloat16", "float32"}
    assert len(limits.matmul) == 10
    assert limits.threads == 1
    assert limits.copy_bytes > 1e8
    assert limits.triad_bytes > 1e8
    # A training step is made of matrix products and more: it can't be faster than the fastest of them.
    assert 0 < limits.training_share < 1
    assert limits.peak("float32") == max(rate.flops for rate in limits.matmul if rate.precision == "float32")


def test_measuring_leaves_the_global_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    matmul_peak(torch.device("cpu"), torch.float32, seconds=0.05)
    measure_training_speed(300, 16, torch.device("cpu"), torch.float32, seconds=0.05)
    assert torch.equal(before, torch.get_rng_state())


def test_the_square_grows_until_it_is_large_enough():
    flops, rows = measure_square_matmul(torch.device("cpu"), torch.float32, seconds=0.3)
    assert rows in (256, 512, 1024, 2048, 4096, 8192)
    assert flops > 1e8


@pytest.mark.parametrize(
    ("name", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10", 125),
        ("NVIDIA L4", 121),
        ("NVIDIA L40S", 362),
    ],
)
def test_known_gpus_are_told_by_their_names(name, teraflops):
    assert data_sheet_flops(name) == teraflops * 1e12


@pytest.mark.parametrize("name", ["NVIDIA A10G", "NVIDIA RTX A1000", "NVIDIA GeForce RTX 4090", "AMD EPYC"])
def test_unknown_devices_are_measured(name):
    assert data_sheet_flops(name) is None


def test_utilisation_is_useful_operations_over_the_peak():
    config = qwen3_config(64, 2, 300)
    speed = 1e9 / flops_per_token(config, 64)
    assert model_flops_utilisation(config, 64, speed, Peak(4e9, "measured")) == pytest.approx(0.25)


def test_a_run_long_enough_reports_its_utilisation(recipe, monkeypatch):
    short = recipe("short")
    assert run_pretraining(short, quiet=True).training.utilisation is None
    monkeypatch.setattr("jielong.training.loop._SECONDS_WORTH_A_PEAK", 0.0)
    settings = recipe("long")
    result = run_pretraining(settings, quiet=True)
    noted = [row for row in read_metrics(settings.out / "metrics.jsonl") if "mfu" in row]
    assert len(noted) == 1
    assert noted[0]["mfu"] == pytest.approx(result.training.utilisation, abs=1e-4)
    assert 0 < noted[0]["mfu"] < 1
    assert result.summary()["mfu"] == noted[0]["mfu"]
    # Speed is not repeatable, so it stays out of the lineage: the same recipe makes the same bytes.
    assert "mfu" not in result.measured()
    folder = (settings.out / "model" / "model.safetensors").read_bytes()
    assert folder == (short.out / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weights_gradients_and_optimizer_take_what_the_formula_says(name):
    config = qwen3_config(64, 2, 300)
    model = Transformer(config)
    optimizers = build_optimizers(model, OptimizerSettings(name=name))
    model(torch.zeros(1, 4, dtype=torch.long), torch.arange(4).unsqueeze(0)).sum().backward()
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
    for optimizer in optimizers:
        optimizer.step()
    memory = training_memory(config, 4, 32, name, 4, scores_kept=True)
    assert memory.weights == sum(weight.nbytes for weight in model.parameters())
    assert memory.gradients == sum(weight.grad.nbytes for weight in model.parameters())
    states = [tensor for optimizer in optimizers for state in optimizer.state.values()
              for tensor in state.values() if isinstance(tensor, torch.Tensor) and tensor.ndim]  # fmt: skip
    assert memory.optimizer == sum(tensor.nbytes for tensor in states)


@pytest.mark.parametrize("compute_bytes", [2, 4])
@pytest.mark.parametrize(("shape", "vocabulary", "context"), [((64, 2), 300, 64), ((128, 3), 1000, 128)])
def test_activations_are_about_what_a_forward_pass_leaves_behind(shape, vocabulary, context, compute_bytes):
    config = qwen3_config(*shape, vocabulary)
    model, rows = Transformer(config), 4
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = []
    tokens = torch.randint(0, vocabulary, (rows, context))
    positions = torch.arange(context).expand(rows, context)
    with (
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda t: t),
        torch.autocast("cpu", torch.bfloat16, enabled=compute_bytes == 2),
    ):
        next_token_loss(model, tokens, positions, torch.ones_like(tokens), tokens)
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    found = sum(size for place, size in storages.items() if place not in weights)
    estimate = training_memory(config, rows, context, "adamw", compute_bytes, scores_kept=True).activations
    assert 0.7 < estimate / found < 1.6
