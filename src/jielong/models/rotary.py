"""Rotary position embedding: tables of cos and sin, and the rotation (RoFormer, arXiv 2104.09864)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from jielong.models.config import ModelConfig, RopeScaling


class RotaryTable(nn.Module):
    """cos and sin of every position and frequency, in float32 whatever the weights' type is.

    The tables are functions of the configuration, so they are not saved, and they are computed again when the
    model moves: rounding angles to bfloat16 (`model.bfloat16()`) would blur far positions.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self._build(torch.get_default_device())

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Gather the rows of `positions` [B, T]: cos and sin [B, T, 1, Dh/2], to broadcast over heads."""
        return self.cos[positions].unsqueeze(2), self.sin[positions].unsqueeze(2)

    def _build(self, device: torch.device) -> None:
        config = self.config
        frequencies, scale = rotary_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)
        positions = torch.arange(config.max_position_embeddings, dtype=torch.float32, device="cpu")
        angles = torch.outer(positions, frequencies)
        self.register_buffer("cos", (angles.cos() * scale).to(device), persistent=False)
        self.register_buffer("sin", (angles.sin() * scale).to(device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RotaryTable":
        del recurse  # there are no children
        self._build(fn(self.cos[:1]).device)
        return self


def rotary_frequencies(head_dim: int, theta: float, scaling: RopeScaling | None) -> tuple[Tensor, float]:
    """Angles per position of each pair of dimensions, and the multiplier of cos and sin.

    Returns:
        float32 frequencies [head_dim / 2] in radians per token, and a factor (1.0 except for YaRN).
    """
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32, device="cpu") / head_dim
    frequencies = 1.0 / theta**exponents
    if scaling is None:
        return frequencies, 1.0
    if scaling.rope_type == "linear":
        return frequencies / scaling.factor, 1.0
    if scaling.rope_type == "llama3":
        return _llama3(frequencies, scaling), 1.0
    attention_factor = scaling.attention_factor
    if attention_factor is None:  # YaRN, arXiv 2309.00071, equation 22
        attention_factor = 0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0
    return _yarn(frequencies, head_dim, theta, scaling), attention_factor


def _llama3(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Keep the short wavelengths, divide the long ones, and blend between (Llama 3.1's reference code)."""
    turns = scaling.original_max_position_embeddings * frequencies / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return frequencies * keep + frequencies / scaling.factor * (1 - keep)


def _yarn(frequencies: Tensor, head_dim: int, theta: float, scaling: RopeScaling) -> Tensor:
    """Interpolate the dimensions that turn slowly, keep the fast ones (arXiv 2309.00071, section 3.2)."""
    context = scaling.original_max_position_embeddings

    def dimension(turns: float) -> float:
        return head_dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = max(math.floor(dimension(scaling.beta_fast)), 0)
    high = min(math.ceil(dimension(scaling.beta_slow)), head_dim - 1)
    index = torch.arange(head_dim // 2, dtype=torch.float32, device="cpu")
    interpolate = ((index - low) / max(high - low, 0.001)).clamp(0, 1)
    return frequencies * (1 - interpolate) + frequencies / scaling.factor * interpolate


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + Dh/2]) by its position's angle; x [B, T, H, Dh] keeps its type.

    The halves are paired as in Hugging Face checkpoints, not interleaved as in the paper.
    """
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
