"""Which documents are held out and which are trained on, by hash: new documents do not move the others.

Every text has a place between 0 and 1. The held-out share lies at the bottom; a sample is taken from the
top. So a corpus is split and sampled as a stream, once a first pass has surveyed it.
"""

import hashlib
import heapq
import math
from dataclasses import dataclass
from typing import Generic, Literal

import numpy as np

from jielong.core.errors import UsageError
from jielong.data.fingerprint import AnyItem

_PLACES = 1 << 56
_BINS = 1 << 16
_BIN = _PLACES // _BINS


def split_position(text: str, seed: int) -> int:
    """Place a text in [0, 2**56) by its hash; texts equal but for white space and case have one place."""
    plain = " ".join(text.casefold().split())
    digest = hashlib.sha256(f"{seed}\n{plain}".encode()).digest()
    return int.from_bytes(digest[:7])


@dataclass(frozen=True, slots=True)
class Split:
    """Where the held-out places end and those trained on begin; what lies between is not used."""

    seed: int
    heldout_below: int
    trained_from: int

    def side(self, text: str) -> Literal["heldout", "train"] | None:
        """Tell which side a text is on, by itself."""
        position = split_position(text, self.seed)
        if position < self.heldout_below:
            return "heldout"
        return "train" if position >= self.trained_from else None


class Survey(Generic[AnyItem]):
    """What one pass over a corpus finds out about it, in bounded memory.

    Args:
        seed: of the places.
        sample_characters: so much text is kept, for a tokenizer to be trained on.
    """

    def __init__(self, seed: int, sample_characters: int = 0) -> None:
        self.seed = seed
        self.documents = 0
        self.characters = 0
        self._sample_characters = sample_characters
        self._sample: list[tuple[int, int, AnyItem]] = []  # a heap, the lowest place first
        self._sampled = 0
        self._lowest, self._highest = _PLACES, -1
        self._histogram = np.zeros(_BINS, np.int64)  # characters by place

    def add(self, item: AnyItem) -> None:
        """Take one document or conversation in."""
        position, size = split_position(item.text, self.seed), len(item.text)
        self._lowest, self._highest = min(self._lowest, position), max(self._highest, position)
        self._histogram[position // _BIN] += size
        self.characters += size
        heapq.heappush(self._sample, (position, self.documents, item))
        self.documents += 1
        self._sampled += size
        while self._sample and self._sampled - len(self._sample[0][2].text) >= self._sample_characters:
            self._sampled -= len(heapq.heappop(self._sample)[2].text)

    def split(self, heldout_share: float | None = None, max_characters: int | None = None) -> Split:
        """Choose the borders.

        Copies of a text land on one side. At least one text is held out and one is trained on, if there are
        two.

        Args:
            heldout_share: share of the documents that is held out; None for none.
            max_characters: train on an even sample that holds at least so many characters, if there are so
                many, and hardly more; None for all.

        Raises:
            UsageError: a value is out of range.
        """
        if heldout_share is not None and not 0 < heldout_share < 1:
            raise UsageError(f"the held-out share must lie between 0 and 1, not {heldout_share}")
        if max_characters is not None and max_characters < 1:
            raise UsageError(f"max_characters must be 1 or more, not {max_characters}")
        heldout_below = 0
        if heldout_share is not None and self._lowest < self._highest:
            wanted = math.ceil(heldout_share * _PLACES)
            heldout_below = min(max(wanted, self._lowest + 1), self._highest)
        trained_from = heldout_below
        if max_characters is not None:
            from_the_top = np.cumsum(self._histogram[::-1])
            bins = int(np.searchsorted(from_the_top, max_characters)) + 1
            trained_from = max(heldout_below, (_BINS - bins) * _BIN)
        return Split(self.seed, heldout_below, trained_from)

    def sample(self, split: Split, characters: int | None = None) -> list[AnyItem]:
        """An even sample of what is trained on, in the order of the corpus.

        Args:
            split: what is trained on.
            characters: stop when the sample holds so many; by default, when it holds `sample_characters`.
        """
        wanted = self._sample_characters if characters is None else characters
        chosen: list[tuple[int, AnyItem]] = []
        for position, number, item in sorted(self._sample, reverse=True, key=lambda entry: entry[:2]):
            if wanted <= 0 or position < split.trained_from:
                break
            chosen.append((number, item))
            wanted -= len(item.text)
        return [item for _, item in sorted(chosen, key=lambda entry: entry[0])]
