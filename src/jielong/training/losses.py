"""Losses as pure functions of a model and a batch."""

import torch.nn.functional as F
from torch import Tensor

from jielong.models import Transformer, packed_mask
from jielong.training.batches import IGNORED


def next_token_loss(
    model: Transformer, tokens: Tensor, positions: Tensor, segments: Tensor, targets: Tensor
) -> Tensor:
    """Sum of the cross-entropies, in nats, of every target that is not IGNORED.

    A sum, not a mean: the caller divides by the number of targets of the whole optimizer step, so that k
    micro-batches give the same gradient as one big batch whatever their numbers of targets.

    Args:
        model: the network.
        tokens: [B, T] token ids.
        positions: [B, T] position of each token within its own document.
        segments: [B, T] number of the document within the row, 0 for padding.
        targets: [B, T] token ids to predict, or IGNORED.
    """
    hidden = model(tokens, positions, mask=packed_mask(segments))
    logits = model.head(hidden).flatten(0, 1).float()
    return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum")
