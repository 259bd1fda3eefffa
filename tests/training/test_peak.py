"""The fastest matrix multiplication, and the share of it that a run reaches."""

import pytest
import torch

from jielong.models import flops_per_token, qwen3_config
from jielong.training.metrics import read_metrics
from jielong.training.peak import Peak, data_sheet_flops, measure_square_matmul, model_flops_utilisation
from jielong.training.pretrain import run_pretraining


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
