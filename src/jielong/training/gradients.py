"""The gradient of one optimizer step: summed over micro-batches and processes, and clipped."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from jielong.core.errors import JielongError
from jielong.training.batches import Batch
from jielong.training.distributed import sum_of_all, world_size
from jielong.training.parallel import gradient_sync, whole
from jielong.training.precision import computing_in

Statistics = dict[str, Tensor]
"""What an objective tells of a micro-batch beside its loss: by name, a sum and the number of its parts."""

Objective = Callable[..., Tensor | tuple[Tensor, Statistics]]
"""Sum of losses of a micro-batch, perhaps with statistics: (model, *inputs of the batch) -> scalar.

A sum, not a mean: the loop divides by what the whole step learns from, so that k micro-batches, or n
processes, give the gradient of one big batch.
"""


@dataclass(frozen=True)
class StepFigures:
    """What one step was; every process has the same figures."""

    loss: float
    """Mean over all that was learned."""
    learned: float
    tokens: int
    statistics: dict[str, float]
    """Means of what the objective tells."""


def accumulate_gradients(
    network: nn.Module, objective: Objective, batches: Sequence[Batch[Any]], dtype: torch.dtype
) -> StepFigures:
    """Add the gradients of the mean loss over all targets of a step, those of other processes included.

    Args:
        network: a `Network`, perhaps within an engine.
        objective: see `Objective`.
        batches: this process's part of the step's micro-batches.
        dtype: of the computation.

    Raises:
        JielongError: no process has a target.
    """
    learned, tokens = sum_of_all(
        sum(batch.learned for batch in batches), sum(batch.tokens for batch in batches)
    )
    if learned == 0:
        raise JielongError("a step has no token to learn; is the loss mask of the data all zero?")
    total = 0.0
    told: dict[str, Tensor] = {}
    for number, batch in enumerate(batches, 1):
        with gradient_sync(network, wanted=number == len(batches)):
            with computing_in(dtype, batch.inputs[0].device):
                found = network(objective, *batch.inputs)
            loss, statistics = found if isinstance(found, tuple) else (found, {})
            # The engines average gradients over the processes; the mean is over all that is learned.
            torch.autograd.backward(loss / (learned / world_size()))
        total += loss.item()
        told = {name: told.get(name, 0) + value.detach() for name, value in statistics.items()}
    total, *sums = sum_of_all(total, *(part for value in told.values() for part in value.tolist()))
    means = zip(told, sums[::2], sums[1::2], strict=True)
    return StepFigures(
        total / learned,
        learned,
        int(tokens),
        {name: value / count for name, value, count in means if count},
    )


def clip_gradients(model: nn.Module, longest: float) -> float:
    """Scale the gradient down to a length of `longest` at most; returns its length before."""
    return float(whole(torch.nn.utils.clip_grad_norm_(model.parameters(), longest)))
