"""What the hardware computes fast: device, precision."""

import os
import shutil
import sys

import torch

from jielong.core.errors import UsageError


def choose_device(name: str) -> torch.device:
    """The device a setting means; `auto` takes cuda, then mps, then cpu."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("training.device is cuda, but torch sees no CUDA device; use auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("training.device is mps, but this machine has no MPS device; use auto or cpu")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the computation; `auto` takes bfloat16 where it has its own instructions.

    Without them bfloat16 is emulated and slower than float32.
    """
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile has what it needs here: on a CPU, a C++ compiler; not on Windows, nor for mps."""
    if device.type == "cpu":
        compilers = (os.environ.get("CXX"), "g++", "clang++")
        return sys.platform != "win32" and any(shutil.which(name) for name in compilers if name)
    return device.type == "cuda"
