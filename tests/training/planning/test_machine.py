"""Limits of the machine, as measured."""

import torch

from jielong.training.peak import matmul_peak
from jielong.training.planning import measure_limits, measure_training_speed


def test_limits_are_measured_and_consistent():
    limits = measure_limits(seconds=0.1)
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
