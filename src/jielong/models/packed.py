"""Float matrices in the order in which oneDNN reads them.

A plain product re-orders its weights at every call when they are bfloat16, and in float32 it is MKL's, which
is slow on other makers' processors. Weights that are re-ordered once, as torch's compiler does when it
freezes a model (torch/_inductor/fx_passes/mkldnn_fusion.py), cost neither: measured on one thread of an EPYC
with AVX512-BF16, a 2304 x 768 product of 1, 8 and 32 rows takes 98, 186 and 659 us in bfloat16 where the
plain one takes 206, 300 and 853, and 146, 348 and 1583 in float32 instead of 163, 695 and 2294
(benchmarks/weights.py --kernels).
"""

import platform

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jielong.models.precision import has_fast_bfloat16

# A call of oneDNN costs some 15 us more than one of MKL: below this many weights float32 gains nothing, ...
_SMALLEST = 300_000
# ... and below this many a single row is faster by MKL, and the weights are kept in both orders.
_SINGLE_ROW = 1_000_000


class FloatLinear(nn.Module):
    """A linear layer of float32 or bfloat16 weights, in oneDNN's order where that is faster.

    Args:
        weight: [O, I]; what its type is, the product is computed in.
        bias: [O], or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        weight = weight.detach()
        self.dtype = weight.dtype
        self.packed: nn.Parameter | None = None
        self.weight: nn.Parameter | None = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(self.dtype), requires_grad=False)
        if can_pack(weight):
            packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)
            self.packed = nn.Parameter(packed, requires_grad=False)
            if weight.dtype != torch.float32 or weight.numel() >= _SINGLE_ROW:
                self.weight = None

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., I] to [..., O], of the type of x."""
        rows = x.to(self.dtype)
        if self.weight is not None and (self.packed is None or x.numel() == x.shape[-1]):
            out = F.linear(rows, self.weight, self.bias)
        else:
            out = torch.ops.mkldnn._linear_pointwise(rows, self.packed, self.bias, "none", [], "")
        return out.to(x.dtype)


def can_pack(weight: Tensor) -> bool:
    """Whether re-ordering a matrix [O, I] makes products with it faster here."""
    if weight.device.type != "cpu" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if weight.dtype == torch.bfloat16:
        return has_fast_bfloat16(weight.device)
    return weight.dtype == torch.float32 and weight.numel() >= _SMALLEST
