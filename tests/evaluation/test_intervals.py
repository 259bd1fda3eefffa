import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.evaluation.intervals import (
    PairedCounts,
    holm_adjusted,
    mcnemar_exact,
    paired_difference_interval,
    wilson_interval,
)

# Newcombe 1998 (two-sided confidence intervals for the single proportion), table I, method 3: the published
# bounds.
PUBLISHED = [
    (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
]


@pytest.mark.parametrize(("right", "total", "low", "high"), PUBLISHED)
def test_wilson_gives_the_published_bounds(right, total, low, high):
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_solve_the_score_equation(counts):
    """A bound p is where |share - p| is exactly z standard errors of p."""
    right, total = counts
    share, z = right / total, 1.959963984540054
    low, high = wilson_interval(right, total)
    assert 0 <= low <= share <= high <= 1
    for bound in (low, high):
        assert abs(share - bound) == pytest.approx(z * math.sqrt(bound * (1 - bound) / total), abs=1e-9)
    mirrored = wilson_interval(total - right, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_covers_the_truth_about_as_often_as_it_says():
    dice = random.Random(7)
    for truth, total in [(0.02, 100), (0.5, 30), (0.9, 60), (0.97, 200)]:
        covered = 0
        for _ in range(1500):
            right = sum(dice.random() < truth for _ in range(total))
            low, high = wilson_interval(right, total)
            covered += low <= truth <= high
        assert 0.91 < covered / 1500 < 0.985


def test_wilson_of_nothing_knows_nothing_and_refuses_nonsense():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    for right, total in [(5, 4), (-1, 4)]:
        with pytest.raises(ValueError, match="not a count"):
            wilson_interval(right, total)


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(0, 0, 1.0), (5, 0, 2 / 32), (8, 2, 112 / 1024), (3, 3, 1.0), (10, 0, 2 / 1024)]
)
def test_mcnemar_is_the_binomial_tail(gained, lost, p):
    assert mcnemar_exact(gained, lost) == pytest.approx(p)
    assert mcnemar_exact(lost, gained) == pytest.approx(p)


def test_mcnemar_calls_equal_models_different_at_most_as_often_as_it_says():
    """Under equality the chance of p < 0.05, summed exactly, stays below 0.05."""
    for differing in range(1, 60):
        chance = sum(
            math.comb(differing, k) / 2**differing
            for k in range(differing + 1)
            if mcnemar_exact(k, differing - k) < 0.05
        )
        assert chance < 0.05


CELLS = st.builds(PairedCounts, *[st.integers(0, 60)] * 4).filter(lambda cells: cells.total > 0)


@given(CELLS)
def test_paired_interval_holds_the_difference_and_turns_around_with_the_models(cells):
    low, high = paired_difference_interval(cells)
    assert -1 <= low <= cells.difference <= high <= 1
    turned = PairedCounts(cells.both, cells.lost, cells.gained, cells.neither)
    assert paired_difference_interval(turned) == pytest.approx((-high, -low), abs=1e-9)


def test_paired_interval_covers_the_true_difference():
    dice = random.Random(3)
    chances = {"both": 0.5, "gained": 0.3, "lost": 0.1, "neither": 0.1}
    covered = 0
    for _ in range(1500):
        drawn = dice.choices(list(chances), chances.values(), k=80)
        low, high = paired_difference_interval(PairedCounts(**{name: drawn.count(name) for name in chances}))
        covered += low <= 0.2 <= high
    assert 0.925 < covered / 1500 < 0.98


def test_holm_gives_the_textbook_values_and_keeps_the_order():
    assert holm_adjusted([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm_adjusted([]) == []
