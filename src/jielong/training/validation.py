"""Bits per byte on held-out text: a loss that does not depend on the tokenizer."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from jielong.data import Rows
from jielong.models import Transformer
from jielong.tokenizer import Tokenizer
from jielong.training.batches import IGNORED, make_batch
from jielong.training.losses import next_token_loss


def token_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of text that each token id stands for; special tokens stand for none. Shape [V]."""
    return np.array([len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocab_size)])


@dataclass
class BitsPerByte:
    """Held-out rows and what is needed to express their loss per byte of text.

    The nats of every learned target, end-of-text tokens included, are divided by ln 2 and by the bytes of
    text that the targets spell.
    """

    packed: Rows
    lengths: np.ndarray

    def measure(self, model: Transformer, batch_rows: int, max_rows: int, device: torch.device) -> float:
        """Bits per byte over `max_rows` rows: always the same, and not only the long texts in front."""
        nats = 0.0
        spelled = 0
        was_training = model.training
        model.eval()
        with torch.no_grad():
            drawn = np.random.default_rng(0).permutation(len(self.packed))[:max_rows]
            for start in range(0, len(drawn), batch_rows):
                rows = drawn[start : start + batch_rows]
                batch = make_batch(self.packed, rows, device)
                loss = next_token_loss(model, batch.tokens, batch.positions, batch.segments, batch.targets)
                nats += loss.item()
                targets = batch.targets.cpu().numpy()
                spelled += int(self.lengths[targets[targets != IGNORED]].sum())
        model.train(was_training)
        return nats / math.log(2) / max(1, spelled)
