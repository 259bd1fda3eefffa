"""The order of rows: shuffled without a list, by weight, a function of the seed and the number alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.core.errors import UsageError
from jielong.data import Mixture, Packed, pack
from jielong.data.mixture import BLOCK, shuffled


@settings(deadline=None, max_examples=40)
@given(
    count=st.integers(1, 500),
    key=st.lists(st.integers(0, 10**6), min_size=1, max_size=3),
    number=st.integers(0, 10**6),
)
def test_it_is_a_permutation(count: int, key: list[int], number: int) -> None:
    found = shuffled(np.arange(count), np.full(count, number), count, key)
    assert sorted(found.tolist()) == list(range(count))
    some = np.random.default_rng(0).integers(0, count, 5)
    assert np.array_equal(shuffled(some, np.full(5, number), count, key), found[some])


def test_every_place_is_reached_from_every_place_alike() -> None:
    count, keys = 10, 4000
    seen = np.zeros((count, count))
    places, passes = np.tile(np.arange(count), keys), np.repeat(np.arange(keys), count)
    np.add.at(seen, (places, shuffled(places, passes, count, [1])), 1)
    # Chi-square with 81 degrees of freedom: 135 is passed once in ten thousand times.
    assert ((seen - keys / count) ** 2 / (keys / count)).sum() < 135


def test_neighbours_do_not_stay_neighbours() -> None:
    count = 100_000
    found = shuffled(np.arange(count), np.zeros(count, np.int64), count, [1, 2])
    assert abs(np.corrcoef(np.arange(count), found)[0, 1]) < 0.02
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02
    assert np.mean(np.abs(np.diff(found)) < count // 100) < 0.03


def rows(name: int, count: int, length: int = 8, full: int = 8) -> Packed:
    """Rows of `full` tokens; the first one names the source, the second the row."""
    return pack([[name, number, *[9] * (full - 2)] for number in range(count)], None, length)


weights = st.lists(st.floats(0.05, 10), min_size=1, max_size=5)


@settings(deadline=None, max_examples=20)
@given(shares=weights, seed=st.integers(0, 9), data=st.data())
def test_every_stretch_has_its_shares_and_a_pass_uses_every_row_once(
    shares: list[float], seed: int, data: st.DataObject
) -> None:
    counts = [data.draw(st.integers(1, 60)) for _ in shares]
    sources = [rows(owner, count) for owner, count in enumerate(counts)]
    mixture = Mixture(sources, shares)
    start, drawn = data.draw(st.integers(0, 3 * BLOCK)), data.draw(st.integers(1, 2 * BLOCK))
    owners, _ = mixture.locate(np.arange(start, start + drawn), seed)
    exact = np.array(shares) / sum(shares)
    found = np.bincount(owners, minlength=len(shares))
    assert (np.abs(found - drawn * exact) <= 3 + len(shares) * (drawn / BLOCK + 1)).all()
    everything = mixture.locate(np.arange(4 * BLOCK), seed)
    for owner, count in enumerate(counts):
        places = everything[1][everything[0] == owner]
        for begin in range(0, len(places) - count + 1, count):
            assert sorted(places[begin : begin + count].tolist()) == list(range(count))
    expected = [np.count_nonzero(everything[0] == owner) / count for owner, count in enumerate(counts)]
    assert mixture.passes(4 * BLOCK) == pytest.approx(expected)


@settings(deadline=None, max_examples=10)
@given(shares=weights, seed=st.integers(0, 9), numbers=st.lists(st.integers(0, 5000), max_size=20))
def test_a_row_depends_on_seed_and_number_alone(shares: list[float], seed: int, numbers: list[int]) -> None:
    sources = [rows(owner, 7 + owner) for owner in range(len(shares))]
    asked = np.array(numbers, np.int64)
    together = Mixture(sources, shares).draw(asked, seed)
    other = Mixture(sources, shares)
    other.draw(np.arange(50), seed + 1)
    for place, number in enumerate(numbers):
        alone = other.draw(np.array([number]), seed)
        for part in ("tokens", "positions", "segments", "targets"):
            assert np.array_equal(getattr(alone, part)[0], getattr(together, part)[place])


def test_weights_are_shares_of_tokens_however_full_the_rows_are() -> None:
    full, half = rows(1, 50), rows(2, 80, full=5)
    assert half.total_tokens == 5 * len(half)
    mixture = Mixture.by_tokens([full, half], [3, 1])
    drawn = mixture.draw(np.arange(10 * BLOCK), seed=0)
    tokens = (drawn.segments > 0).sum(axis=1)
    share = tokens[drawn.tokens[:, 0] == 1].sum() / tokens.sum()
    assert share == pytest.approx(0.75, abs=0.002)


@pytest.mark.parametrize("shares", [(0.0, 1.0), (-1.0, 1.0), (1.0,)])
def test_wrong_weights_are_usage_errors(shares: tuple[float, ...]) -> None:
    with pytest.raises(UsageError):
        Mixture([rows(0, 3), rows(1, 3)], shares)
    with pytest.raises(UsageError):
        Mixture([rows(0, 3), rows(0, 0)], (1.0, 1.0))
