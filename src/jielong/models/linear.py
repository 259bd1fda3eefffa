"""Linear layers, and what an adapter can do to one."""

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn


class LinearAdapter(nn.Module):
    """What an adapter makes of one linear layer; every kind of adapter is a subclass.

    It lives in its layer's `adapter`. The layer's own weights stay as they are, under their own names, so
    that one copy of them serves the adapted model and, with the adapter disabled, the base.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disabled = False
        """The layer works as if there were no adapter."""
        self.merged = False
        """The layer's weight holds what the adapter does, which therefore does nothing itself."""

    def forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the changed layer: x [..., I], weight [O, I] and bias [O] to [..., O]."""
        raise NotImplementedError

    def merged_weight(self, weight: Tensor) -> Tensor:
        """The weight [O, I] of a plain layer that computes the same."""
        raise NotImplementedError

    def unmerged_weight(self, weight: Tensor) -> Tensor:
        """The weight [O, I] from which `merged_weight` made this one, up to rounding."""
        raise NotImplementedError

    def tensors(self) -> Mapping[str, nn.Parameter]:
        """The adapter's parameters by their names in a PEFT folder, below `base_model.model.`."""
        raise NotImplementedError


class Linear(nn.Linear):
    """A matrix that `Transformer.init_weights` fills, so that building draws no global random numbers."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias)
        self.adapter: LinearAdapter | None = None

    def reset_parameters(self) -> None:
        """Leave the weights as allocated."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., I] to [..., O]."""
        adapter = self.adapter
        if adapter is None or adapter.disabled or adapter.merged:
            return F.linear(x, self.weight, self.bias)
        changed: Tensor = adapter(x, self.weight, self.bias)
        return changed
