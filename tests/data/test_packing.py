"""Packing: no token is lost, sequences never mix, little is padding, and it is fast."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.core.errors import JielongError
from jielong.data import Packed, pack

BOS = 10**6


def unique_sequences(lengths: list[int]) -> list[list[int]]:
    """Every token of every sequence is another number, so that it can be found again."""
    ends = np.cumsum([0, *lengths]).tolist()
    return [list(range(start + 1, end + 1)) for start, end in itertools.pairwise(ends)]


def segments_of(packed: Packed) -> list[tuple[list[int], list[int], list[bool]]]:
    """(tokens, positions, targets) of each segment, row by row."""
    found = []
    for tokens, positions, segments, targets in zip(
        packed.tokens, packed.positions, packed.segments, packed.targets, strict=True
    ):
        for number in range(1, segments.max(initial=0) + 1):
            (where,) = np.nonzero(segments == number)
            assert (np.diff(where) == 1).all(), "a segment is one stretch"
            found.append((tokens[where].tolist(), positions[where].tolist(), targets[where].tolist()))
        (used,) = np.nonzero(segments)
        assert used.tolist() == list(range(len(used))), "padding is at the end"
        assert (np.diff(segments[used]) >= 0).all()
    return found


@given(
    lengths=st.lists(st.integers(0, 40), max_size=40),
    length=st.integers(2, 20),
    with_bos=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_token_is_lost_and_rows_never_mix(
    lengths: list[int], length: int, with_bos: bool, seed: int
) -> None:
    sequences = unique_sequences(lengths)
    random = np.random.default_rng(seed)
    masks = [random.integers(0, 2, size).astype(bool).tolist() for size in lengths]
    learned = {
        token: wanted
        for tokens, mask in zip(sequences, masks, strict=True)
        for token, wanted in zip(tokens, mask, strict=True)
    }
    packed = pack(sequences, masks, length, bos=BOS if with_bos else None, pad=-1)
    rows = packed.tokens.shape[0]
    for array in (packed.tokens, packed.positions, packed.segments, packed.targets):
        assert array.shape == (rows, length)
    assert (packed.tokens[packed.segments == 0] == -1).all()
    assert (packed.positions[packed.segments == 0] == 0).all()
    pieces = segments_of(packed)
    for tokens, positions, targets in pieces:
        assert positions == list(range(len(tokens)))
        expected = [learned.get(following, False) for following in tokens[1:]]
        assert targets == [*expected, False]
    # Joined in order, without the added tokens, the pieces are the sequences.
    bodies = sorted(tokens[1:] if tokens[0] == BOS else tokens for tokens, _, _ in pieces)
    assert [token for body in bodies for token in body] == [token for tokens in sequences for token in tokens]
    starts = {sequence[0] for sequence in sequences if sequence}
    for tokens, _, _ in pieces:
        assert (tokens[0] in starts) != (with_bos and tokens[0] == BOS) or not with_bos
    whole = {tuple(sequence) for sequence in sequences if 0 < len(sequence) <= length}
    assert whole <= {tuple(tokens) for tokens, _, _ in pieces}, "what fits is not cut"


@given(lengths=st.lists(st.integers(1, 40), max_size=40), length=st.integers(2, 20))
def test_every_token_after_a_beginning_is_a_target_once(lengths: list[int], length: int) -> None:
    packed = pack(unique_sequences(lengths), None, length, bos=BOS)
    following = np.roll(packed.tokens, -1, axis=1)[packed.targets].tolist()
    expected = [token for sequence in unique_sequences(lengths) for token in sequence[1:]]
    assert sorted(following) == sorted(expected)


@given(lengths=st.lists(st.integers(1, 30), max_size=60), length=st.integers(2, 30))
def test_it_is_best_fit_decreasing(lengths: list[int], length: int) -> None:
    """The reference takes the pieces one by one, and looks at every row."""
    lengths = [min(size, length) for size in lengths]
    rooms: list[int] = []
    for size in sorted(lengths, reverse=True):
        fitting = [index for index, room in enumerate(rooms) if room >= size]
        if not fitting:
            rooms.append(length)
            fitting = [len(rooms) - 1]
        rooms[min(fitting, key=lambda index: rooms[index])] -= size
    packed = pack(unique_sequences(lengths), None, length)
    assert sorted((packed.segments == 0).sum(axis=1).tolist()) == sorted(rooms)


def test_realistic_lengths_are_packed_tightly_and_fast() -> None:
    generator = np.random.default_rng(0)
    lengths = np.clip(generator.lognormal(4.0, 0.8, 100_000), 4, 4000).astype(int)
    sequences = [np.ones(size, np.int32) for size in lengths]
    start = time.perf_counter()
    packed = pack(sequences, None, 1024, bos=1)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    assert packed.utilisation >= 0.97
    assert seconds < 10
    again = pack(sequences, None, 1024, bos=1)  # type: ignore[arg-type]
    for name in ("tokens", "positions", "segments", "targets"):
        assert np.array_equal(getattr(packed, name), getattr(again, name))


def test_dtypes_and_emptiness() -> None:
    packed = pack([[1, 2, 3]], None, 4)
    assert (packed.tokens.dtype, packed.positions.dtype, packed.segments.dtype) == (
        np.int32,
        np.int32,
        np.int32,
    )
    assert packed.targets.dtype == np.bool_
    assert pack([], None, 4).tokens.shape == (0, 4)
    assert pack([[], []], [[], []], 4).tokens.shape == (0, 4)


def test_wrong_masks_and_lengths_are_errors() -> None:
    with pytest.raises(JielongError, match="mask"):
        pack([[1, 2]], [[True]], 4)
    with pytest.raises(JielongError, match="mask"):
        pack([[1, 2]], [], 4)
    with pytest.raises(JielongError, match="2 is the least"):
        pack([[1, 2]], None, 1)
