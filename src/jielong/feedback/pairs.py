"""Comparisons as batches for the loop: each pair is two answers to one prompt."""

from collections.abc import Sequence

import torch
from torch import Tensor

from jielong.feedback.answers import AnswerInputs, pack_answers
from jielong.feedback.shuffled import ShuffledBatches
from jielong.feedback.token_rows import TokenPair
from jielong.training.batches import Batch


class PairBatches(ShuffledBatches[TokenPair]):
    """Draws micro-batches of pairs."""

    def draw(
        self, number: int, device: torch.device, share: slice = slice(None)
    ) -> Batch[tuple[Tensor, ...]]:
        """The pairs `share` of micro-batch `number`: their answers, margins [P] and ties [P]."""
        pairs = self.items_of(number)[share]
        inputs = pack_pairs(pairs, self.pad, device)
        margins = torch.tensor([pair.margin or 1.0 for pair in pairs], device=device)
        ties = torch.tensor([pair.tie for pair in pairs], device=device)
        return Batch((*inputs, margins, ties), len(pairs), int((inputs.segments > 0).sum()))


def pack_pairs(pairs: Sequence[TokenPair], pad: int, device: torch.device) -> AnswerInputs:
    """The answers of P pairs: first the P that were chosen, then the P that were rejected."""
    return pack_answers([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs], pad, device)
