"""Bits per byte on held-out text: a loss that does not depend on the tokenizer."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from jielong.data import Rows
from jielong.tokenizer import Tokenizer
from jielong.training.batches import IGNORED, make_batch
from jielong.training.distributed import share, sum_of_all, world_size
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

    def measure(self, network: nn.Module, batch_rows: int, max_rows: int, device: torch.device) -> float:
        """Bits per byte over `max_rows` rows: always the same, and not only the long texts in front.

        Args:
            network: a `Network`, perhaps within an engine; every process must call this.
            batch_rows: rows that each process computes at once.
            max_rows: rows in all, shared by the processes.
            device: where the network is.
        """
        nats, spelled = 0.0, 0.0
        was_training = network.training
        network.eval()
        with torch.no_grad():
            drawn = np.random.default_rng(0).permutation(len(self.packed))[:max_rows]
            rows, counted = _even_share(drawn)
            for start in range(0, len(rows), batch_rows):
                chosen = slice(start, start + batch_rows)
                inputs = make_batch(self.packed, rows[chosen], device).inputs
                inputs.targets[~torch.from_numpy(counted[chosen])] = IGNORED
                nats += network(next_token_loss, *inputs).item()
                targets = inputs.targets.cpu().numpy()
                spelled += int(self.lengths[targets[targets != IGNORED]].sum())
        network.train(was_training)
        nats, spelled = sum_of_all(nats, spelled)
        return nats / math.log(2) / max(1.0, spelled)


def _even_share(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """This process's rows, as many as any other's, and which of them count: the last may only fill up.

    FSDP's processes must call the network equally often.
    """
    total = math.ceil(len(rows) / world_size()) * world_size()
    return np.resize(rows, total)[share()], (np.arange(total) < len(rows))[share()]
