"""What tests look at in the folder of a finished run."""

import torch
from safetensors.torch import load_file

from jielong.training.metrics import read_metrics


def weights(run):
    return load_file(run / "model" / "model.safetensors")


def assert_equal_weights(one, two):
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def losses(run):
    return [row["loss"] for row in read_metrics(run / "metrics.jsonl") if "loss" in row]
