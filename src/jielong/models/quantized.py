"""Matrices of 8 and 4 bits a weight, multiplied by torch's own CPU kernels.

8 bits: rows are rounded to 8 bits too, each by its own largest number, and the processor multiplies whole
numbers: four times as many at once as float32, and exactly, so that a row's product does not depend on the
rows beside it. 4 bits: only weights are rounded; rows are read as bfloat16. That kernel is bound by the
arithmetic of widening, so many rows are multiplied by weights that are widened on the way.

O outputs, I inputs, R rows (tokens), G inputs of a group that share a scale.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.models.precision import has_fast_bfloat16, has_fast_int8

INT8_INPUTS = 16
"""Kernels read 8-bit weights 16 at a time, from aligned addresses, and have no remainder."""
INT4_GROUP = 32
"""Inputs that share a 4-bit scale: the fewest that the kernel takes, because that rounds best."""
_INT4_BLOCK = 64  # outputs that the 4-bit kernel of AVX-512 computes at a time; of AVX2, 32
# Rows up to which the 4-bit kernel is faster than widening (benchmarks/weights.py --kernels).
_INT4_ROWS = 128
_WIDENED = 1 << 22  # weights that are widened at a time, so that they stay in the cache


def round_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a matrix to 8 bits, symmetrically, with one scale an output (Dettmers et al., arXiv 2208.07339).

    Args:
        weight: [O, I], any floating type.

    Returns:
        int8 codes [O, I] in -127..127, and bfloat16 scales [O]; codes * scales is at most half a scale from
        the weights, but where the scale itself was rounded down, a whole one from a row's largest.
    """
    weight = weight.float()
    scales = (weight.abs().amax(1) / 127).clamp_min(1e-30).bfloat16()
    codes = (weight / scales.float()[:, None]).round_().clamp_(-127, 127)
    return codes.to(torch.int8), scales


def round_int4(weight: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Round a matrix to 4 bits with a scale and a zero for each group of inputs of an output.

    Args:
        weight: [O, I], any floating type; I is a multiple of the group.
        group: G, inputs that share a scale.

    Returns:
        int32 codes [O, I] in 0..15, and bfloat16 [I / G, O, 2], as the kernel reads them: the weight is
        (code - 8) * scale + zero.
    """
    groups = weight.float().reshape(len(weight), -1, group)  # [O, I / G, G]
    low, high = groups.amin(2), groups.amax(2)
    scales = ((high - low) / 15).clamp_min(1e-30).bfloat16()
    zeros = (low + 8 * scales.float()).bfloat16()
    codes = ((groups - zeros.float()[..., None]) / scales.float()[..., None]).round_().add_(8).clamp_(0, 15)
    return codes.flatten(1).to(torch.int32), torch.stack((scales.t(), zeros.t()), dim=2).contiguous()


def round_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Round rows to 8 bits, symmetrically, each with a scale of its own (Yao et al., arXiv 2206.01861).

    Args:
        x: [R, I], float32.

    Returns:
        uint8 codes [R, I] in 1..255, where 128 is zero, and float32 scales [R, 1]; (codes - 128) * scales is
        at most half a scale from x.
    """
    scales = x.abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
    return (x / scales).round_().add_(128).to(torch.uint8), scales


class Int8Linear(nn.Module):
    """A linear layer whose weights are 8-bit, and the rows that it reads too.

    Where the processor has no products of whole numbers, only the weights are rounded.

    Args:
        weight: [O, I], I a multiple of `INT8_INPUTS`.
        bias: [O], or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        codes, scales = round_int8(weight.detach())
        self.whole = has_fast_int8(weight.device)
        """Whether whole numbers are multiplied."""
        if self.whole:
            codes, scales = torch.ops.onednn.qlinear_prepack(codes, None), scales.float()
        # Parameters, because a compiled step freezes those, and does not look at values that it has frozen.
        self.codes = nn.Parameter(codes, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.zeros = nn.Parameter(torch.zeros(len(scales), dtype=torch.int32), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().float(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., I] to [..., O], of the type of x."""
        rows = x.reshape(-1, x.shape[-1])
        if not self.whole:
            rows = _bfloat16(rows)
            return _finish(torch.ops.aten._weight_int8pack_mm(rows, self.codes, self.scales), self.bias, x)
        codes, scales = round_rows(rows.float())
        product = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, 128, self.codes, self.scales, self.zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return _finish(product * scales, self.bias, x)


class Int8Embedding(nn.Module):
    """The rows of an 8-bit matrix by number.

    Args:
        weight: [V, I].
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        codes, scales = round_int8(weight.detach())
        self.codes = nn.Parameter(codes, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Look up tokens [B, T]; float32 [B, T, I]."""
        return self.codes[tokens] * self.scales[tokens].unsqueeze(-1).float()


class Int4Linear(nn.Module):
    """A linear layer whose weights are 4-bit.

    Args:
        weight: [O, I], I a multiple of the group.
        bias: [O], or None.
        group: G, 32, 64, 128 or 256.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, group: int = INT4_GROUP) -> None:
        super().__init__()
        self.outputs, self.group = weight.shape[0], group
        codes, scales = round_int4(weight.detach(), group)
        # Whole blocks of outputs: the kernel wants multiples of 16 and is slow on a block that is not whole.
        spare = -self.outputs % _INT4_BLOCK
        codes, scales = F.pad(codes, (0, 0, 0, spare)), F.pad(scales, (0, 0, 0, spare)).contiguous()
        packed: Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1)
        self.packed = nn.Parameter(packed, requires_grad=False)
        self.scales = nn.Parameter(scales, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().float(), requires_grad=False)
        self.wide = _wide_type()
        self.block_half = next((half for half in (32, 16) if _packs_so(packed, codes, half)), None)
        """Outputs in the low halves of a block's bytes; None when this build packs in another way, and then
        the kernel does every product."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., I] to [..., O], of the type of x."""
        rows = _bfloat16(x.reshape(-1, x.shape[-1]))
        few = len(rows) <= _INT4_ROWS or self.block_half is None
        out = self.by_kernel(rows) if few else self.by_widening(rows)
        return _finish(out[:, : self.outputs], self.bias, x)

    def by_kernel(self, rows: Tensor) -> Tensor:
        """Multiply rows bfloat16 [R, I] by the narrow weights; [R, whole blocks of O]."""
        out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.packed, self.group, self.scales)
        return out

    def by_widening(self, rows: Tensor) -> Tensor:
        """Multiply rows [R, I] by widened weights; [R, whole blocks of O]."""
        rows = rows.to(self.wide)
        some = max(1, _WIDENED // rows.shape[1] // _INT4_BLOCK) * _INT4_BLOCK
        parts = [
            rows @ self._widen(packed, scales, self.wide)
            for packed, scales in zip(
                torch.split(self.packed, some), torch.split(self.scales, some, 1), strict=True
            )
        ]
        return torch.cat(parts, 1) if len(parts) > 1 else parts[0]

    def _widen(self, packed: Tensor, scales: Tensor, wide: torch.dtype) -> Tensor:
        """Weights [I, some O] of whole blocks, inputs first because blocks lie so."""
        assert self.block_half is not None  # noqa: S101 - callers look
        # Codes lie as [blocks, I, outputs of a block].
        codes = _unpack(packed, self.block_half).view(torch.int8).sub_(8).to(wide)
        scales = scales.to(wide).view(len(scales), len(codes), -1, 2).permute(3, 1, 0, 2).contiguous()
        scale, zero = scales.unsqueeze(3)  # [blocks, I / G, 1, outputs of a block]
        weights = torch.addcmul(zero, codes.view(len(codes), -1, self.group, codes.shape[2]), scale)
        return weights.flatten(1, 2).transpose(0, 1).flatten(1)


def _unpack(packed: Tensor, half: int) -> Tensor:
    """Codes uint8 [blocks, I, 2 * half] of bytes [O, I / 2]: block by block, and within one input by input.

    Byte j of an input holds output j of the block and output j + half: the kernels' layout on AVX-512 (half
    of 64 outputs) and AVX2 (half of 32), ATen/native/cpu/int4mm_kernel.cpp.
    """
    pairs = packed.view(-1, 2 * packed.shape[1], half)
    return torch.cat((pairs & 15, pairs >> 4), 2)


def _packs_so(packed: Tensor, codes: Tensor, half: int) -> bool:
    return torch.equal(_unpack(packed, half).transpose(1, 2).flatten(0, 1), codes)


def _bfloat16(rows: Tensor) -> Tensor:
    """Give rows [R, I] as a kernel can read them: bfloat16, contiguous, 32-byte aligned."""
    # Always a copy: a view could begin at an address that the kernels' loads do not allow.
    return rows.to(torch.bfloat16, copy=True, memory_format=torch.contiguous_format)


def _finish(out: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """Rows [R, O] in the shape and type of x, with the bias added."""
    out = out.to(x.dtype).view(*x.shape[:-1], out.shape[-1])
    return out if bias is None else (out + bias).to(x.dtype)


def _wide_type() -> torch.dtype:
    return torch.bfloat16 if has_fast_bfloat16(torch.device("cpu")) else torch.float32
