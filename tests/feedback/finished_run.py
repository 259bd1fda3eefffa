"""What a finished run left behind."""

import json

import torch
from safetensors.torch import load_file


def metrics_of(run):
    """The rows of the steps in metrics.jsonl."""
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [row for row in rows if "loss" in row]


def assert_equal_weights(one, two):
    """Both runs' models have the same tensors, bit for bit."""
    first, second = (load_file(run / "model" / "model.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
