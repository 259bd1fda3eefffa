"""Batches as a pure function of the step: resuming needs no replay of the data."""

import math
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from jielong.data import Mixture, Packed, Rows

IGNORED = -100

Inputs = TypeVar("Inputs", bound=tuple[Tensor, ...], covariant=True)


@dataclass(frozen=True)
class Batch(Generic[Inputs]):
    """What an objective gets of one micro-batch."""

    inputs: Inputs
    """Tensors on a device, handed to the objective after the model, in this order."""
    learned: float
    """What the sum of the losses is divided by, over the whole step: targets, pairs, or a constant."""
    tokens: int
    """Tokens that are read, padding not counted."""


class PackedInputs(NamedTuple):
    """Packed rows, each tensor of shape [rows, context]."""

    tokens: Tensor
    positions: Tensor
    segments: Tensor
    targets: Tensor
    """The next token where it is to be learned, IGNORED elsewhere."""


class Batches(Protocol):
    """Where the loop's micro-batches come from."""

    on_policy: bool
    """Whether they are made with the weights as they are at that step, so that none can be made ahead."""
    period: int
    """Steps that belong together, for they come from one rollout: a run stops and resumes between them."""
    exhausted: bool
    """Whether the run is to end after this step, though steps are left; the same in every process."""

    @property
    def per_epoch(self) -> int:
        """Micro-batches in one pass over the data."""

    def draw(self, number: int, device: torch.device, share: slice = slice(None)) -> Batch[Any]:
        """The rows `share` of micro-batch `number` (0-based, over all epochs)."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold so that drawing goes on; nothing where batches follow from numbers."""

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""

    def passes(self, micro_batches: int) -> list[float]:
        """How often each source was gone through after so many micro-batches."""


class PackedBatches:
    """Draws micro-batches from packed rows, reshuffled every epoch, or from a mixture of several sources.

    An epoch uses every row once; a batch may reach over the border of two epochs, so no row is left out.

    Args:
        packed: the rows, or a mixture of them.
        rows: rows in a micro-batch.
        seed: of the order.
    """

    on_policy = False
    period = 1
    exhausted = False

    def __init__(self, packed: Rows | Mixture, rows: int, seed: int) -> None:
        self.mixture = packed if isinstance(packed, Mixture) else Mixture([packed])
        self.rows = rows
        self.seed = seed

    @property
    def per_epoch(self) -> int:
        """Micro-batches in one epoch, the last one perhaps shared with the next epoch."""
        return math.ceil(self.mixture.epoch / self.rows)

    def draw(self, number: int, device: torch.device, share: slice = slice(None)) -> Batch[PackedInputs]:
        """The rows `share` of micro-batch `number` (0-based, over all epochs)."""
        numbers = np.arange(number * self.rows, (number + 1) * self.rows)[share]
        return _to_batch(self.mixture.draw(numbers, self.seed), device)

    def state(self) -> dict[str, Tensor]:
        """Nothing: a batch follows from its number."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to do."""

    def passes(self, micro_batches: int) -> list[float]:
        """How often each source was gone through after so many micro-batches."""
        return self.mixture.passes(micro_batches * self.rows)


def make_batch(packed: Rows, rows: np.ndarray, device: torch.device) -> Batch[PackedInputs]:
    """Put some packed rows on a device, with their targets worked out."""
    return _to_batch(packed.take(rows), device)


def _to_batch(packed: Packed, device: torch.device) -> Batch[PackedInputs]:
    targets = np.full(packed.tokens.shape, IGNORED, np.int64)
    targets[:, :-1] = np.where(packed.targets[:, :-1], packed.tokens[:, 1:], IGNORED)
    arrays = (packed.tokens, packed.positions, packed.segments, targets)
    return Batch(
        inputs=PackedInputs(*(_on(device, array) for array in arrays)),
        learned=int((targets != IGNORED).sum()),
        tokens=int((packed.segments > 0).sum()),
    )


def _on(device: torch.device, array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.int64, copy=False)).to(device, non_blocking=True)
