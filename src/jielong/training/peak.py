"""The fastest matrix multiplication of a device, and which share of it training reaches (MFU)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from jielong.models import ModelConfig, flops_per_token

DENSE_BFLOAT16 = {
    "H200": 989e12, "GH200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "H800": 989e12,
    "B200": 2250e12, "A100": 312e12, "A800": 312e12, "L40S": 362e12, "L4": 121e12, "A10": 125e12,
}  # fmt: skip
"""bfloat16 operations a second by a part of the device's name, without sparsity, from NVIDIA's data sheets
(which print the double figure, "with sparsity", for Ada, Hopper and Blackwell)."""

_LARGEST = 8192  # rows of the largest square matrix that is tried
_LONG_ENOUGH = 0.015  # seconds of one product from which a larger one is not faster


@dataclass(frozen=True)
class Peak:
    """What matrix multiplication reaches at best."""

    flops: float
    """Floating-point operations a second."""
    source: Literal["measured", "data sheet"]


def matmul_peak(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> Peak:
    """The limit that training is held against: NVIDIA's figure where it is known, else a measurement.

    Args:
        device: where to multiply.
        dtype: of the factors.
        seconds: how long a measurement may take.
    """
    if device.type == "cuda" and dtype == torch.bfloat16:
        known = data_sheet_flops(torch.cuda.get_device_name(device))
        if known is not None:
            return Peak(known, "data sheet")
    return Peak(measure_square_matmul(device, dtype, seconds)[0], "measured")


def data_sheet_flops(device_name: str) -> float | None:
    """Dense bfloat16 operations a second of a GPU; None where its name says nothing."""
    words = device_name.replace("-", " ").split()
    for name, flops in DENSE_BFLOAT16.items():
        if all(word in words for word in name.split()):
            return flops
    return None


def measure_square_matmul(device: torch.device, dtype: torch.dtype, seconds: float) -> tuple[float, int]:
    """Multiply ever larger square matrices until they are large enough, then for `seconds`.

    Returns:
        (operations a second of the best product, rows of its matrices). The best one is the limit: a slower
        one was held up by somebody else.
    """
    rows, best, fastest = 256, 0.0, 256
    began = time.perf_counter()
    while True:
        multiply = square_product(device, dtype, rows)
        left = seconds - (time.perf_counter() - began)
        taken = best_time(multiply, device, min(0.05, left))
        large = taken >= _LONG_ENOUGH or rows == _LARGEST or left <= 0
        if large and left > 0:
            taken = min(taken, best_time(multiply, device, seconds - (time.perf_counter() - began)))
        if 2 * rows**3 / taken > best:
            best, fastest = 2 * rows**3 / taken, rows
        if large:
            return best, fastest
        rows *= 2


def square_product(device: torch.device, dtype: torch.dtype, rows: int) -> Callable[[], object]:
    """A function that multiplies two random square matrices."""
    return product(device, dtype, rows, rows, rows)


def product(device: torch.device, dtype: torch.dtype, m: int, n: int, k: int) -> Callable[[], object]:
    """A function that multiplies [m, k] by [k, n]; global random numbers stay as they are."""
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(m, k, generator=generator).to(device, dtype)
    right = torch.randn(k, n, generator=generator).to(device, dtype)
    out = torch.empty(m, n, device=device, dtype=dtype)
    return lambda: torch.matmul(left, right, out=out)


def best_time(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of the fastest call, over at least two after one that warms up and as many as fit."""
    work()
    synchronize(device)
    best = float("inf")
    began = time.perf_counter()
    count = 0
    while count < 2 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        work()
        synchronize(device)
        best = min(best, time.perf_counter() - start)
        count += 1
    return best


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def model_flops_utilisation(
    config: ModelConfig, context: int, tokens_per_second: float, peak: Peak, frozen: bool = False
) -> float:
    """Share of the peak that useful operations take: MFU (PaLM, arXiv 2204.02311, appendix B).

    Operations that a step repeats (recomputed activations), spends on padding, or leaves out (the half of
    the attention square that a causal kernel skips) do not change it: `flops_per_token` counts a token once.

    Args:
        config: the shape.
        context: tokens in a row.
        tokens_per_second: training speed, padding not counted.
        peak: the limit.
        frozen: an adapter is trained, and the weights get no gradients.
    """
    return flops_per_token(config, context, frozen) * tokens_per_second / peak.flops
