"""Sums and means over what counts, in a form that stays right however a batch is cut into parts."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

Aggregation = Literal["token-mean", "sequence-mean", "sequence-sum"]
Statistics = dict[str, Tensor]
"""By name, a tensor of shape [2]: the sum over what counts, and how many counted."""


def zero_outside(values: Tensor, mask: Tensor) -> Tensor:
    """Values where the mask is True and zeros elsewhere, where neither NaN nor a gradient passes."""
    return torch.where(mask, values, torch.zeros((), dtype=values.dtype, device=values.device))


def counted_rows(mask: Tensor | None, *values: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """A mask of pairs or completions, all of them by default, and values [P] that are zero outside of it."""
    if mask is None:
        return torch.ones_like(values[0], dtype=torch.bool), values
    return mask, tuple(zero_outside(value, mask) for value in values)


def sum_by_row(values: Tensor, mask: Tensor) -> Tensor:
    """Sum of each row's counted values: [..., T] -> [...]; a sequence's log-probability from its tokens'."""
    return zero_outside(values, mask).sum(-1)


def mean_by_row(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each row's counted values: [..., T] -> [...]; zero for a row without any."""
    return sum_by_row(values, mask) / mask.sum(-1).clamp(min=1)


def aggregate(
    values: Tensor, mask: Tensor, how: Aggregation = "token-mean", normalizer: Tensor | float | None = None
) -> Tensor:
    """Make one loss of the losses of tokens.

    | how | numerator | unit that the normaliser counts | known from |
    |---|---|---|---|
    | token-mean | sum of all tokens | tokens | DAPO (arXiv 2503.14476, section 3.3) |
    | sequence-mean | sum of the sequences' token means | sequences | GRPO (arXiv 2402.03300, equation 3) |
    | sequence-sum | sum of all tokens | sequences, times a constant | Dr. GRPO (arXiv 2503.20783, appendix) |

    Args:
        values: [B, T] losses of tokens, or [P] of pairs.
        mask: of the same shape; True = counts.
        how: see the table.
        normalizer: units of the whole optimizer step, over all its micro-batches and processes: the sum of
            their `count_units`. 1 gives the plain sum; None takes this batch's own units.
    """
    values = zero_outside(values, mask)
    if how == "sequence-mean":
        values = values.sum(-1) / mask.sum(-1).clamp(min=1)
    if normalizer is None:
        normalizer = count_units(mask, how).clamp(min=1)
    return values.sum() / normalizer


def count_units(mask: Tensor, how: Aggregation = "token-mean", length: int = 1) -> Tensor:
    """How many units of an aggregation a batch holds; a row without a counted token is no sequence.

    Args:
        mask: [B, T] or [P]; True = counts.
        how: the aggregation.
        length: the constant of "sequence-sum"; Dr. GRPO's is the longest completion that is allowed.
    """
    if how == "token-mean":
        return mask.sum()
    rows = mask.any(-1).sum()
    return rows * length if how == "sequence-sum" else rows


def tally(values: Tensor, mask: Tensor) -> Tensor:
    """Sum and count of the counted values, as a `Statistics` holds them; without a gradient."""
    counted = zero_outside(wide(values.detach()), mask).sum()
    return torch.stack([counted, mask.sum().to(counted.dtype)])


def wide(values: Tensor) -> Tensor:
    """Values in float64, so that sums and differences of sums are exact enough; MPS has float32 only."""
    return values.to(torch.float32 if values.device.type == "mps" else torch.float64)


def add_up(parts: Sequence[Mapping[str, Tensor]]) -> Statistics:
    """Statistics of several micro-batches as those of one; a name may be missing in some of them."""
    total: Statistics = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total[name] + value if name in total else value
    return total


def means(statistics: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean by name; names of which nothing was counted are left out."""
    if not statistics:
        return {}
    pairs = torch.stack(list(statistics.values())).tolist()  # one trip from the device for all of them
    return {name: total / count for name, (total, count) in zip(statistics, pairs, strict=True) if count > 0}
