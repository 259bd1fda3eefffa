"""Pack token sequences of many lengths into rows of one length: what fits is not cut, little is padding."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jielong.core.errors import JielongError

_CHUNK = 1 << 14


@dataclass(frozen=True, slots=True)
class Packed:
    """R rows of L tokens."""

    tokens: NDArray[np.int32]
    """[R, L]; the padding token where `segments` is 0."""
    positions: NDArray[np.int32]
    """[R, L]; from 0 in each sequence; 0 in padding."""
    segments: NDArray[np.int32]
    """[R, L]; 1, 2, ... for the sequences in a row, 0 for padding."""
    targets: NDArray[np.bool_]
    """[R, L]; true at t where tokens[t + 1] is to be learned. Never true in the last column."""

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: NDArray[np.int64]) -> "Packed":
        """Some of the rows."""
        return Packed(self.tokens[rows], self.positions[rows], self.segments[rows], self.targets[rows])

    @property
    def total_tokens(self) -> int:
        """Places that hold a token."""
        return int(np.count_nonzero(self.segments))

    @property
    def utilisation(self) -> float:
        """Share of the places that hold a token, from 0 to 1."""
        return self.total_tokens / max(self.segments.size, 1)


class Rows(Protocol):
    """Rows of packed tokens, in memory or on disk."""

    def __len__(self) -> int:
        """How many there are."""

    def take(self, rows: NDArray[np.int64]) -> Packed:
        """Some of the rows, by their numbers."""

    @property
    def total_tokens(self) -> int:
        """Tokens in all rows, padding not counted."""


def pack(
    sequences: Sequence[Sequence[int]],
    masks: Sequence[Sequence[bool]] | None,
    length: int,
    *,
    bos: int | None = None,
    pad: int = 0,
) -> Packed:
    """Pack by best-fit decreasing (arXiv:2404.10830): longest first, into the fullest row it fits in.

    A sequence longer than `length` is cut into pieces; with `bos`, each later piece starts with that token,
    which is not a target. Rows come out with the longest sequences first: shuffle them for training. The
    same input gives the same rows.

    Args:
        sequences: token ids.
        masks: for each sequence, true for the tokens to be learned; None for all of them.
        length: tokens in a row, 2 or more.
        bos: token that starts a later piece.
        pad: token that fills rows up.

    Raises:
        JielongError: a mask is not as long as its sequence, or `length` is too small.
    """
    lengths = np.fromiter((len(sequence) for sequence in sequences), np.int64, len(sequences))
    tokens = _flatten(sequences, int(lengths.sum()), np.int32)
    learned = np.ones(len(tokens), bool)
    if masks is not None:
        if len(masks) != len(sequences) or any(
            len(mask) != size for mask, size in zip(masks, lengths.tolist(), strict=False)
        ):
            raise JielongError("every sequence needs a mask of its own length")
        learned = _flatten(masks, len(tokens), np.bool_)
    pieces = cut(lengths, length, bos is not None)
    return fill(tokens, learned, pieces, best_fit(pieces.sizes, length), length, bos or 0, pad)


@dataclass(frozen=True, slots=True)
class Pieces:
    """Sequences cut to fit a row; arrays with one entry a piece."""

    starts: NDArray[np.int64]  # in the flat tokens
    sizes: NDArray[np.int64]  # the beginning-of-sequence token included
    prefixed: NDArray[np.int64]  # 1 where that token goes before the piece, else 0


@dataclass(frozen=True, slots=True)
class Places:
    """Where the pieces go; arrays with one entry a piece."""

    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    segments: NDArray[np.int64]  # 1, 2, ... in each row
    count: int  # of rows


def _flatten(sequences: Sequence[Any], total: int, dtype: Any) -> NDArray[Any]:
    if len(sequences) > 0 and isinstance(sequences[0], np.ndarray):
        return np.concatenate(sequences).astype(dtype, copy=False)
    return np.fromiter(itertools.chain.from_iterable(sequences), dtype, total)


def cut(lengths: NDArray[np.int64], length: int, with_bos: bool) -> Pieces:
    """Cut sequences of these lengths, which lie one after another, into pieces that fit a row."""
    if length < 2:
        raise JielongError(f"cannot pack into rows of {length} tokens: 2 is the least")
    first = np.cumsum(lengths) - lengths
    step = length - 1 if with_bos else length
    # The first piece takes `length` tokens, each later one `step`.
    pieces = np.where(lengths > 0, 1 + np.maximum(0, -(-(lengths - length) // step)), 0)
    owner = np.repeat(np.arange(len(lengths)), pieces)
    index = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begin = np.where(index > 0, length + (index - 1) * step, 0)
    end = np.minimum(np.where(index > 0, begin + step, length), lengths[owner])
    prefixed = (index > 0).astype(np.int64) * with_bos
    return Pieces(first[owner] + begin, end - begin + prefixed, prefixed)


def best_fit(sizes: NDArray[np.int64], length: int) -> Places:
    """Place pieces, longest first, each into the fullest row with room for it.

    Pieces of one size are placed together: the fullest row with room takes as many as fit, since after each
    of them it is still the fullest. So the work grows with the rows and the sizes, not with pieces times
    rows.
    """
    order = np.argsort(-sizes, kind="stable")
    ordered = sizes[order]
    rooms: list[list[int]] = [[] for _ in range(length + 1)]  # rows by the room left in them
    filled: list[int] = []  # pieces in each row
    moves: list[tuple[int, int, int, int]] = []  # row, room before, pieces before, pieces placed
    negated, counts = np.unique(-ordered, return_counts=True)  # longest first
    for size, waiting in zip((-negated).tolist(), counts.tolist(), strict=True):
        room = size
        while waiting:
            while room < length and not rooms[room]:
                room += 1
            if rooms[room]:
                row = rooms[room].pop()
            else:
                row = len(filled)
                filled.append(0)
            placed = min(room // size, waiting)
            moves.append((row, room, filled[row], placed))
            filled[row] += placed
            rooms[room - placed * size].append(row)
            waiting -= placed
    at, left, before, count = np.array(moves, np.int64).reshape(-1, 4).T
    within = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    rows, offsets, segments = (np.empty(len(order), np.int64) for _ in range(3))
    rows[order] = np.repeat(at, count)
    offsets[order] = length - np.repeat(left, count) + within * ordered
    segments[order] = np.repeat(before, count) + within + 1
    return Places(rows, offsets, segments, len(filled))


def fill(
    tokens: NDArray[np.int32],
    learned: NDArray[np.bool_],
    pieces: Pieces,
    places: Places,
    length: int,
    bos: int,
    pad: int,
) -> Packed:
    """Put the pieces of `tokens`, and of `learned`, in their places."""
    total = places.count * length
    packed = np.full(total, pad, np.int32)
    positions, segments = np.zeros(total, np.int32), np.zeros(total, np.int32)
    wanted = np.zeros(total, np.bool_)
    beginnings = places.rows * length + places.offsets
    # In chunks, so that the index arrays stay small beside the tokens.
    for chunk in (slice(start, start + _CHUNK) for start in range(0, len(beginnings), _CHUNK)):
        sizes, prefixed = pieces.sizes[chunk], pieces.prefixed[chunk]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        where = np.repeat(beginnings[chunk], sizes) + within
        positions[where] = within
        segments[where] = np.repeat(places.segments[chunk], sizes)
        source = np.repeat(pieces.starts[chunk] - prefixed, sizes) + within
        own = within >= np.repeat(prefixed, sizes)
        packed[where[own]] = tokens[source[own]]
        wanted[where[own]] = learned[source[own]]
        packed[where[~own]] = bos
    shape = (places.count, length)
    packed, positions, segments = packed.reshape(shape), positions.reshape(shape), segments.reshape(shape)
    targets = np.zeros(shape, np.bool_)
    same = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)
    targets[:, :-1] = same & wanted.reshape(shape)[:, 1:]
    return Packed(packed, positions, segments, targets)
