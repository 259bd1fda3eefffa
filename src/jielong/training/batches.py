"""Batches as a pure function of the step: resuming needs no replay of the data."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jielong.data import Mixture, Packed, Rows

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Packed rows on a device, each tensor of shape [rows, context]."""

    tokens: Tensor
    positions: Tensor
    segments: Tensor
    targets: Tensor
    """The next token where it is to be learned, IGNORED elsewhere."""
    learned: int
    """How many targets are to be learned."""


class PackedBatches:
    """Draws micro-batches from packed rows, reshuffled every epoch, or from a mixture of several sources.

    An epoch uses every row once; a batch may reach over the border of two epochs, so no row is left out.

    Args:
        packed: the rows, or a mixture of them.
        rows: rows in a micro-batch.
        seed: of the order.
    """

    def __init__(self, packed: Rows | Mixture, rows: int, seed: int) -> None:
        self.mixture = packed if isinstance(packed, Mixture) else Mixture([packed])
        self.rows = rows
        self.seed = seed

    @property
    def per_epoch(self) -> int:
        """Micro-batches in one epoch, the last one perhaps shared with the next epoch."""
        return math.ceil(self.mixture.epoch / self.rows)

    def draw(self, number: int, device: torch.device, share: slice = slice(None)) -> Batch:
        """The rows `share` of micro-batch `number` (0-based, over all epochs)."""
        numbers = np.arange(number * self.rows, (number + 1) * self.rows)[share]
        return _to_batch(self.mixture.draw(numbers, self.seed), device)

    def passes(self, micro_batches: int) -> list[float]:
        """How often each source was gone through after so many micro-batches."""
        return self.mixture.passes(micro_batches * self.rows)


def make_batch(packed: Rows, rows: np.ndarray, device: torch.device) -> Batch:
    """Put some packed rows on a device, with their targets worked out."""
    return _to_batch(packed.take(rows), device)


def _to_batch(packed: Packed, device: torch.device) -> Batch:
    targets = np.full(packed.tokens.shape, IGNORED, np.int64)
    targets[:, :-1] = np.where(packed.targets[:, :-1], packed.tokens[:, 1:], IGNORED)
    return Batch(
        tokens=_on(device, packed.tokens),
        positions=_on(device, packed.positions),
        segments=_on(device, packed.segments),
        targets=_on(device, targets),
        learned=int((targets != IGNORED).sum()),
    )


def _on(device: torch.device, array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64, copy=False)).to(device, non_blocking=True)
