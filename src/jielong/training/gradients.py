"""The gradient of one optimizer step: summed over micro-batches and processes, and clipped."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from jielong.core.errors import JielongError
from jielong.training.batches import Batch
from jielong.training.distributed import sum_of_all, world_size
from jielong.training.parallel import gradient_sync, whole


def accumulate_gradients(
    network: nn.Module, objective: Callable[..., Tensor], batches: Sequence[Batch], dtype: torch.dtype
) -> tuple[float, int, int]:
    """Add the gradients of the mean loss over all targets of a step, those of other processes included.

    Args:
        network: a `Network`, perhaps within an engine.
        objective: sum of losses of a micro-batch: (model, tokens, positions, segments, targets) -> scalar.
        batches: this process's part of the step's micro-batches.
        dtype: of the computation.

    Returns:
        Mean loss, targets and tokens of the whole step; every process gets the same ones.

    Raises:
        JielongError: no process has a target.
    """
    targets, tokens = sum_of_all(
        sum(batch.learned for batch in batches), sum(int((batch.segments > 0).sum()) for batch in batches)
    )
    if targets == 0:
        raise JielongError("a step has no token to learn; is the loss mask of the data all zero?")
    total = 0.0
    for number, batch in enumerate(batches, 1):
        with gradient_sync(network, wanted=number == len(batches)):
            with torch.autocast(batch.tokens.device.type, dtype, enabled=dtype != torch.float32):
                loss = network(objective, batch.tokens, batch.positions, batch.segments, batch.targets)
            # The engines average gradients over the processes; the mean is over all targets.
            torch.autograd.backward(loss / (targets / world_size()))
        total += loss.item()
    (total,) = sum_of_all(total)
    return total / targets, int(targets), int(tokens)


def clip_gradients(model: nn.Module, longest: float) -> float:
    """Scale the gradient down to a length of `longest` at most; returns its length before."""
    return float(whole(torch.nn.utils.clip_grad_norm_(model.parameters(), longest)))
