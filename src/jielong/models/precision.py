"""What a device computes fast."""

import torch
from torch import Tensor


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; emulated, they are slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def cache_dtype(weight: Tensor) -> torch.dtype:
    """The type in which a network with such weights keeps keys and values.

    On a CPU attention in float32 is faster than in bfloat16, and better.
    """
    on_cpu = weight.device.type == "cpu"
    return torch.promote_types(weight.dtype, torch.float32) if on_cpu else weight.dtype


def has_fast_int8(device: torch.device) -> bool:
    """Whether a CPU multiplies 8-bit whole numbers in hardware, and adds the products up without overflow.

    Instructions before VNNI add pairs of products in 16 bits, which is too few.
    """
    return device.type == "cpu" and bool(torch.cpu._is_vnni_supported() or torch.cpu._is_amx_tile_supported())
