"""Comparisons as batches for the loop: each pair is two answers to one prompt."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from jielong.core.files import hash_json
from jielong.feedback.answers import AnswerInputs, pack_answers
from jielong.feedback.token_rows import TokenPair
from jielong.training.batches import Batch


class PairBatches:
    """Draws micro-batches of pairs, in a new order every epoch.

    Args:
        pairs: all of them.
        rows: pairs in a micro-batch.
        seed: of the order.
        pad: the token that fills rows up.
    """

    on_policy = False
    period = 1
    exhausted = False

    def __init__(self, pairs: Sequence[TokenPair], rows: int, seed: int, pad: int) -> None:
        self.pairs = pairs
        self.rows = rows
        self.seed = seed
        self.pad = pad

    @property
    def per_epoch(self) -> int:
        """Micro-batches in one epoch."""
        return -(-len(self.pairs) // self.rows)

    @property
    def fingerprint(self) -> str:
        """Hash of all that can be drawn."""
        return hash_json([asdict(pair) for pair in self.pairs])

    def draw(
        self, number: int, device: torch.device, share: slice = slice(None)
    ) -> "Batch[tuple[Tensor, ...]]":
        """The pairs `share` of micro-batch `number`: their answers, margins [P] and ties [P]."""
        pairs = self.pairs_of(number, share)
        inputs = pack_pairs(pairs, self.pad, device)
        margins = torch.tensor([pair.margin or 1.0 for pair in pairs], device=device)
        ties = torch.tensor([pair.tie for pair in pairs], device=device)
        return Batch((*inputs, margins, ties), len(pairs), int((inputs.segments > 0).sum()))

    def pairs_of(self, number: int, share: slice = slice(None)) -> list[TokenPair]:
        """The pairs `share` of micro-batch `number`."""
        return [self.pairs[place] for place in self._places(number)[share].tolist()]

    def _places(self, number: int) -> np.ndarray:
        """Which pairs a micro-batch holds; one may reach over the border of two epochs."""
        wanted = np.arange(number * self.rows, (number + 1) * self.rows)
        count = len(self.pairs)
        orders = {
            int(epoch): np.random.default_rng([self.seed, int(epoch)]).permutation(count)
            for epoch in np.unique(wanted // count)
        }
        return np.array(
            [orders[int(epoch)][place] for epoch, place in zip(*divmod(wanted, count), strict=True)]
        )

    def passes(self, micro_batches: int) -> list[float]:
        """How often the pairs were gone through."""
        return [micro_batches * self.rows / len(self.pairs)]

    def state(self) -> dict[str, Tensor]:
        """Nothing: a batch follows from its number."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Nothing to do."""


def pack_pairs(pairs: Sequence[TokenPair], pad: int, device: torch.device) -> AnswerInputs:
    """The answers of P pairs: first the P that were chosen, then the P that were rejected."""
    return pack_answers([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs], pad, device)
