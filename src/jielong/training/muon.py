"""Muon: momentum whose every matrix is made orthogonal before it is applied."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from jielong.models.precision import has_fast_bfloat16
from jielong.training.parallel import lay_out, whole

_STEPS = 5
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(Optimizer):
    """Momentum with Nesterov's look-ahead, orthogonalised by Newton-Schulz (Jordan et al. 2024).

    The update is scaled to AdamW's size by 0.2 * sqrt(max(rows, columns)) (Moonlight, arXiv 2502.16982,
    section 2.2), so one learning rate serves every shape and width; weight decay is decoupled. It is what
    `torch.optim.Muon` does with `match_rms_adamw`, except that matrices of one shape are orthogonalised
    together: on 2 CPU cores that takes about 60 % of the time (docs/benchmarks.md).

    Args:
        matrices: two-dimensional weights.
        lr: learning rate, of AdamW's size.
        momentum: share of the old momentum that is kept.
        weight_decay: share of a weight, times lr, that is taken off at every step.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            by_shape: dict[tuple[Any, ...], list[nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault((tuple(weight.shape), weight.device), []).append(weight)
            for weights in by_shape.values():
                self._move(weights, group)

    def _move(self, weights: list[nn.Parameter], group: dict[str, Any]) -> None:
        tensors: list[Tensor] = list(weights)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        averages = [self._average(weight) for weight in weights]
        torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
        # Of weights that FSDP shares out, every process makes the whole orthogonal and keeps its share.
        updates = orthogonalise(torch.stack([whole(matrix) for matrix in ahead])).unbind()
        rate = group["lr"] * 0.2 * max(tensors[0].shape) ** 0.5
        torch._foreach_mul_(tensors, 1 - group["lr"] * group["weight_decay"])
        shares = [
            lay_out(update.to(weight.dtype), weight) for update, weight in zip(updates, weights, strict=True)
        ]
        torch._foreach_add_(tensors, shares, alpha=-rate)

    def _average(self, weight: nn.Parameter) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(weight)
        average: Tensor = state["momentum_buffer"]
        return average


def orthogonalise(matrices: Tensor) -> Tensor:
    """Replace every singular value by about 1, roughly U Vᵀ of the singular value decomposition.

    Five steps of the quintic Newton-Schulz iteration with Jordan's coefficients; singular values end between
    about 0.7 and 1.2. In bfloat16 where the device multiplies it in hardware.

    Args:
        matrices: [N, rows, columns].

    Returns:
        [N, rows, columns], in the type of the computation.
    """
    a, b, c = _COEFFICIENTS
    x = matrices.bfloat16() if has_fast_bfloat16(matrices.device) else matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_STEPS):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x
