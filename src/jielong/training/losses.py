"""Losses as pure functions of a model and a batch."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from jielong.models import Transformer, packed_mask
from jielong.training.batches import IGNORED

LOGITS_AT_ONCE = 1 << 25
"""Logits that are held at once, 128 MiB in float32. More are computed in parts, and again on the way back."""


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
    hidden = model(tokens, positions, mask=packed_mask(segments)).flatten(0, 1)
    rows = max(1, LOGITS_AT_ONCE // model.config.vocab_size)
    if len(hidden) <= rows:
        return _cross_entropy(model, hidden, targets.flatten())
    parts = zip(torch.split(hidden, rows), torch.split(targets.flatten(), rows), strict=True)
    total = torch.zeros((), device=hidden.device)
    for part in parts:
        total = total + checkpoint(
            _cross_entropy, model, *part, use_reentrant=False,
            preserve_rng_state=model.adapter is not None,  # one on the head may drop inputs
        )  # fmt: skip
    return total


def _cross_entropy(model: Transformer, hidden: Tensor, targets: Tensor) -> Tensor:
    """Of hidden states [N, D] and targets [N]."""
    logits = model.head(hidden).float()
    return F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
