"""Tables of vectors, whose compiled gradient adds up in the same order each time."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Embedding(nn.Embedding):
    """A table whose weights `Transformer.init_weights` fills."""

    def reset_parameters(self) -> None:
        """Leave the weights as allocated."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Embedding's name
        """Look rows up: [...] -> [..., D]."""
        if torch.compiler.is_compiling() and self.weight.device.type == "cpu":
            rows: Tensor = _Lookup.apply(self.weight, input)  # type: ignore[no-untyped-call]
            return rows
        return F.embedding(input, self.weight)


class _Lookup(torch.autograd.Function):
    """A lookup whose gradient is torch's own operation, also where the step is compiled.

    Inductor would write the gradient as a loop over the tokens that several threads share, adding to the rows
    by atomic operations: in another order each time, and so with other last bits.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, tokens: Tensor) -> Tensor:
        ctx.save_for_backward(tokens)
        ctx.rows = weight.shape[0]
        return F.embedding(tokens, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _gradient_of_rows(gradient, ctx.saved_tensors[0], ctx.rows), None


@torch.library.custom_op("jielong::gradient_of_rows", mutates_args=())
def _gradient_of_rows(gradient: Tensor, tokens: Tensor, rows: int) -> Tensor:
    summed: Tensor = torch.ops.aten.embedding_dense_backward(gradient, tokens, rows, -1, False)
    return summed


@_gradient_of_rows.register_fake
def _(gradient: Tensor, _tokens: Tensor, rows: int) -> Tensor:
    return gradient.new_empty(rows, gradient.shape[-1])
