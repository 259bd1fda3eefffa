"""Batches as a pure function of the step: resuming needs no replay of the data."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from jielong.data import Packed

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
    """Draws micro-batches from packed rows, reshuffled every epoch.

    An epoch uses every row once; a batch may reach over the border of two epochs, so no row is left out.
    """

    def __init__(self, packed: Packed, rows: int, seed: int) -> None:
        self.packed = packed
        self.rows = rows
        self.seed = seed
        self._order = lru_cache(maxsize=2)(self._make_order)

    @property
    def per_epoch(self) -> int:
        """Micro-batches in one epoch, the last one perhaps shared with the next epoch."""
        return math.ceil(len(self.packed.tokens) / self.rows)

    def draw(self, number: int, device: torch.device, share: slice = slice(None)) -> Batch:
        """The rows `share` of micro-batch `number` (0-based, over all epochs)."""
        count = len(self.packed.tokens)
        indices = np.arange(number * self.rows, (number + 1) * self.rows)
        chosen = [self._order(int(index) // count)[int(index) % count] for index in indices]
        return make_batch(self.packed, np.array(chosen[share]), device)

    def _make_order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.packed.tokens))


def make_batch(packed: Packed, rows: np.ndarray, device: torch.device) -> Batch:
    """Put some packed rows on a device, with their targets worked out."""
    tokens = packed.tokens[rows].astype(np.int64)
    learn = packed.targets[rows]
    targets = np.full_like(tokens, IGNORED)
    targets[:, :-1] = np.where(learn[:, :-1], tokens[:, 1:], IGNORED)
    return Batch(
        tokens=_on(device, tokens),
        positions=_on(device, packed.positions[rows]),
        segments=_on(device, packed.segments[rows]),
        targets=_on(device, targets),
        learned=int((targets != IGNORED).sum()),
    )


def _on(device: torch.device, array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64, copy=False)).to(device, non_blocking=True)
