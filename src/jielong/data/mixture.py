"""In which order rows are drawn: shuffled, and from several sources by weight. All of it is arithmetic."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import UsageError
from jielong.data.packing import Packed, Rows

BLOCK = 1024
"""Rows in which every source has exactly its share, to the nearest row."""
_ROUNDS = 6


def shuffled(
    indices: NDArray[np.int64], passes: NDArray[np.int64], count: int, key: Sequence[int]
) -> NDArray[np.int64]:
    """Places of pseudorandom permutations of 0, ..., count - 1, without holding the permutations.

    A balanced Feistel network over the next power of four, applied again while a number falls outside
    ("cycle walking"; Black & Rogaway 2002, Ciphers with Arbitrary Finite Domains, method 2).

    Args:
        indices: places asked for, each in [0, count).
        passes: for each of them, the number of the permutation.
        count: length of the permutations.
        key: integers that choose a family of permutations.
    """
    half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = np.random.SeedSequence(list(key)).generate_state(_ROUNDS, np.uint64)
    tweaks = _mixed(passes.astype(np.uint64) + keys[:1])
    found = indices.astype(np.uint64)
    outside = np.ones(len(found), np.bool_)
    while outside.any():
        left, right, tweak = found[outside] >> half, found[outside] & mask, tweaks[outside]
        for round_key in keys:
            left, right = right, left ^ (_mixed(right + tweak + round_key) & mask)
        found[outside] = (left << half) | right
        outside = found >= count
    return found.astype(np.int64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea & Flood 2014): every bit in moves every bit out."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Mixture:
    """An endless sequence of rows drawn from some sources; row n is a function of the seed and n alone.

    Every source is gone through in a shuffled order, and again in another one when it is used up.

    Args:
        sources: rows of each source.
        shares: share of the rows drawn that come from each source; scaled to a sum of 1.
        epoch: rows that count as one pass over all; by default as many as the sources have.
    """

    def __init__(
        self, sources: Sequence[Rows], shares: Sequence[float] = (1.0,), epoch: int | None = None
    ) -> None:
        if len(sources) != len(shares) or not all(len(source) for source in sources):
            raise UsageError("a mixture needs a share for every source, and no source may be empty")
        self._sources = sources
        self.epoch = sum(map(len, sources)) if epoch is None else epoch
        self._counts = _in_a_block(shares)
        self._order = lru_cache(maxsize=4)(self._make_order)

    @classmethod
    def by_tokens(cls, sources: Sequence[Rows], weights: Sequence[float]) -> "Mixture":
        """A mixture in which the weights are shares of the tokens, however full a source's rows are."""
        rates = [source.total_tokens / len(source) for source in sources]
        return cls(sources, [weight / rate for weight, rate in zip(weights, rates, strict=True)])

    def draw(self, numbers: NDArray[np.int64], seed: int) -> Packed:
        """The rows with these numbers, 0-based, in their order."""
        owners, places = self.locate(numbers, seed)
        parts = [source.take(places[owners == owner]) for owner, source in enumerate(self._sources)]
        together = Packed(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("tokens", "positions", "segments", "targets")
            )
        )
        return together.take(np.argsort(np.argsort(owners, kind="stable"), kind="stable"))

    def locate(self, numbers: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the rows with these numbers come from: (source, row in it) of each."""
        owners, turns = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
        blocks, within = np.divmod(numbers, BLOCK)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            block_owners, block_turns = self._order(seed, block)
            owners[here], turns[here] = block_owners[within[here]], block_turns[within[here]]
            turns[here] += block * self._counts[owners[here]]
        places = np.empty(len(numbers), np.int64)
        for owner, source in enumerate(self._sources):
            mine = owners == owner
            passes, places[mine] = np.divmod(turns[mine], len(source))
            places[mine] = shuffled(places[mine], passes, len(source), (seed, owner))
        return owners, places

    def passes(self, rows: int) -> list[float]:
        """How often each source was gone through when so many rows have been drawn, to the block."""
        return [
            rows * int(count) / BLOCK / len(source)
            for count, source in zip(self._counts, self._sources, strict=True)
        ]

    def _make_order(self, seed: int, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Source of each row of a block, and how many rows of that source the block has before it.

        Each source's rows are spread evenly, so that short runs have their shares too.
        """
        counts = self._counts
        owners = np.repeat(np.arange(len(counts)), counts)
        turns = np.concatenate([np.arange(count) for count in counts])
        phases = np.random.default_rng([seed, block]).random(len(counts))
        order = np.argsort((turns + phases[owners]) / counts[owners], kind="stable")
        return owners[order], turns[order]


def _in_a_block(shares: Sequence[float]) -> NDArray[np.int64]:
    """Rows of each source in a block: every one at least one, the largest remainders rounded up."""
    if not all(share > 0 for share in shares) or len(shares) > BLOCK:
        raise UsageError(f"weights must be positive, and at most {BLOCK} sources can be mixed")
    # One row each, and the others by share: rounding cannot take the last row from anybody.
    exact = np.array(shares, np.float64) / sum(shares) * BLOCK
    counts = np.maximum(1, np.floor(exact)).astype(np.int64)
    while counts.sum() != BLOCK:
        step = 1 if counts.sum() < BLOCK else -1
        gap = (exact - counts) * step
        gap[(counts == 1) & (step < 0)] = -np.inf
        counts[int(np.argmax(gap))] += step
    return counts
