import pytest
import torch
from hypothesis import strategies as st
from random_batches import given, normal, padded, random_mask

from jielong.feedback.objectives.masked import add_up, aggregate, count_units, means, tally

HOW = ["token-mean", "sequence-mean", "sequence-sum"]
seeds = st.integers(0, 10_000)


def slow(values, mask, how):
    """The same with loops over tokens."""
    rows = [
        [float(value) for value, counted in zip(row, flags, strict=True) if counted]
        for row, flags in zip(values, mask, strict=True)
    ]
    rows = [row for row in rows if row]
    if how == "token-mean":
        return sum(map(sum, rows)) / sum(map(len, rows))
    if how == "sequence-mean":
        return sum(sum(row) / len(row) for row in rows) / len(rows)
    return sum(map(sum, rows)) / len(rows)


@pytest.mark.parametrize("how", HOW)
@given(seed=seeds, rows=st.integers(1, 5), length=st.integers(1, 7))
def test_aggregation_is_what_loops_give(how, seed, rows, length):
    values, mask = normal(seed, rows, length), random_mask(seed, rows, length)
    assert float(aggregate(values, mask, how)) == pytest.approx(slow(values, mask, how), abs=1e-5)


@pytest.mark.parametrize("how", HOW)
@given(seed=seeds, left=st.integers(0, 3), right=st.integers(0, 3), rows=st.integers(0, 2))
def test_padding_changes_nothing_not_even_nan(how, seed, left, right, rows):
    values, mask = normal(seed, 3, 5), random_mask(seed, 3, 5)
    more, more_mask = (
        padded(values, left, right, rows, float("nan")),
        padded(mask, left, right, rows, False),
    )
    torch.testing.assert_close(aggregate(more, more_mask, how), aggregate(values, mask, how))
    torch.testing.assert_close(tally(more, more_mask), tally(values, mask))


@pytest.mark.parametrize("how", HOW)
@given(seed=seeds, cut=st.integers(1, 5))
def test_micro_batches_with_the_whole_normaliser_add_up_to_one_batch(how, seed, cut):
    values, mask = normal(seed, 6, 4), random_mask(seed, 6, 4)
    parts = [slice(0, cut), slice(cut, 6)]
    units = sum(count_units(mask[part], how, length=9) for part in parts)
    whole = aggregate(values, mask, how, count_units(mask, how, length=9))
    torch.testing.assert_close(sum(aggregate(values[part], mask[part], how, units) for part in parts), whole)
    added = add_up([{"x": tally(values[part], mask[part])} for part in parts])
    torch.testing.assert_close(added["x"], tally(values, mask))
    assert means(added)["x"] == pytest.approx(slow(values, mask, "token-mean"), abs=1e-5)


def test_dr_grpo_divides_by_a_constant_whatever_the_lengths():
    values = torch.ones(2, 4)
    mask = torch.tensor([[True] * 4, [True] + [False] * 3])
    assert float(aggregate(values, mask, "sequence-sum", count_units(mask, "sequence-sum", 10))) == 5 / 20


def test_a_name_of_which_nothing_counted_has_no_mean():
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    assert means({"x": tally(torch.ones(2, 2), nothing)}) == {}
    assert means({}) == {}
    assert float(aggregate(torch.ones(2, 2), nothing)) == 0


def test_no_gradient_passes_where_nothing_counts():
    values = normal(0, 2, 3).requires_grad_()
    mask = torch.tensor([[True, False, True], [False, False, False]])
    aggregate(values, mask, "sequence-mean").backward()
    assert torch.equal(values.grad != 0, mask)
