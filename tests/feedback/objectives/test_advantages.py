import statistics

import pytest
import torch
from hypothesis import strategies as st
from random_batches import completion_mask, given, logprobs, normal, padded, random_mask

from jielong.feedback.objectives.advantages import (
    discounted_returns,
    generalized_advantages,
    group_advantages,
    groups_with_spread,
    leave_one_out_advantages,
    moments,
    overlong_punishment,
    reinforce_plus_plus_advantages,
    whiten,
)

seeds = st.integers(0, 10_000)


def slow_advantages(rewards, values, mask, gamma, lam, bootstrap):
    """Sums of discounted surprises, straight from the definition, over the counted tokens alone."""
    found = torch.zeros_like(rewards)
    for row in range(len(rewards)):
        places = [place for place in range(rewards.shape[1]) if mask[row, place]]
        r = [float(rewards[row, place]) for place in places]
        v = [float(values[row, place]) for place in places] + [float(bootstrap[row])]
        surprises = [r[t] + gamma * v[t + 1] - v[t] for t in range(len(r))]
        for t, place in enumerate(places):
            found[row, place] = sum(
                (gamma * lam) ** (later - t) * surprises[later] for later in range(t, len(r))
            )
    return found


@given(seed=seeds, gamma=st.floats(0.5, 1), lam=st.floats(0, 1))
def test_advantages_are_sums_of_surprises(seed, gamma, lam):
    rewards, values, mask = normal(seed, 3, 6), normal(seed + 1, 3, 6), random_mask(seed, 3, 6)
    bootstrap = normal(seed + 2, 3)
    found, returns = generalized_advantages(rewards, values, mask, gamma=gamma, lam=lam, bootstrap=bootstrap)
    expected = slow_advantages(rewards, values, mask, gamma, lam, bootstrap)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(returns[mask], (found + values)[mask])


@given(seed=seeds)
def test_with_lambda_one_advantages_are_returns_less_values(seed):
    rewards, values, mask = normal(seed, 3, 6), normal(seed + 1, 3, 6), random_mask(seed, 3, 6)
    found, returns = generalized_advantages(rewards, values, mask, gamma=0.9, lam=1.0)
    plain = discounted_returns(rewards, mask, gamma=0.9)
    torch.testing.assert_close(returns, plain, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[mask], (plain - values)[mask], atol=1e-5, rtol=1e-4)


@given(seed=seeds, left=st.integers(0, 3), right=st.integers(0, 3), rows=st.integers(0, 2))
def test_padding_changes_nothing(seed, left, right, rows):
    rewards, values, mask = normal(seed, 3, 5), normal(seed + 1, 3, 5), random_mask(seed, 3, 5)
    nan = float("nan")
    more_rewards, more_values = (padded(part, left, right, rows, nan) for part in (rewards, values))
    more_mask = padded(mask, left, right, rows, False)
    for found, more in zip(
        generalized_advantages(rewards, values, mask),
        generalized_advantages(more_rewards, more_values, more_mask),
        strict=True,
    ):
        torch.testing.assert_close(more[more_mask], found[mask])
        assert bool((more[~more_mask] == 0).all())
    torch.testing.assert_close(
        whiten(more_values, more_mask)[more_mask], whiten(values, mask)[mask], atol=1e-5, rtol=1e-4
    )


def test_a_text_that_was_cut_off_is_worth_what_may_still_come():
    rewards, values = torch.zeros(2, 3), torch.zeros(2, 3)
    mask = completion_mask([2, 2], 3)
    _, returns = generalized_advantages(rewards, values, mask, lam=1.0, bootstrap=torch.tensor([0.0, 5.0]))
    assert returns.tolist() == [[0, 0, 0], [5, 5, 0]]


@given(seed=seeds)
def test_whitened_values_have_mean_zero_and_variance_one(seed):
    values, mask = 3 + 2 * normal(seed, 4, 8), random_mask(seed, 4, 8)
    white = whiten(values, mask)[mask]
    assert float(white.mean()) == pytest.approx(0, abs=1e-5)
    assert float(white.std()) == pytest.approx(1, abs=1e-4)
    kept = whiten(values, mask, shift_mean=False)[mask]
    assert float(kept.mean()) == pytest.approx(float(values[mask].mean()), abs=1e-4)
    assert float(kept.std()) == pytest.approx(1, abs=1e-4)


@given(seed=seeds, cut=st.integers(1, 5))
def test_processes_whiten_together_by_adding_their_moments(seed, cut):
    values, mask = 100 + normal(seed, 6, 4), random_mask(seed, 6, 4)
    whole = moments(values[:cut], mask[:cut]) + moments(values[cut:], mask[cut:])
    parts = [whiten(values[here], mask[here], whole=whole) for here in (slice(0, cut), slice(cut, 6))]
    torch.testing.assert_close(torch.cat(parts), whiten(values, mask))


def test_nothing_to_whiten_is_no_error():
    one = torch.tensor([[True, False]])
    assert whiten(torch.tensor([[3.0, 1.0]]), one).tolist() == [[0, 0]]
    assert whiten(torch.tensor([[3.0, 1.0]]), one & False).tolist() == [[0, 0]]


@given(seed=seeds)
def test_reinforce_plus_plus_normalises_returns_over_the_batch(seed):
    rewards, mask = normal(seed, 3, 5), random_mask(seed, 3, 5)
    zeros = torch.zeros(3, 5)
    returns = slow_advantages(rewards, zeros, mask, 0.9, 1.0, torch.zeros(3))[mask]
    found = reinforce_plus_plus_advantages(rewards, mask, gamma=0.9)[mask]
    torch.testing.assert_close(found, (returns - returns.mean()) / returns.std(), atol=1e-4, rtol=1e-3)


def groups_of(seed):
    sizes = [3, 1, 4, 2]
    groups = torch.cat([torch.full((size,), 7 * number) for number, size in enumerate(sizes)])
    return logprobs(seed, 10), groups[torch.randperm(10, generator=torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@given(seed=seeds)
def test_group_advantages_are_what_loops_give(scale, seed):
    rewards, groups = groups_of(seed)
    found = group_advantages(rewards, groups, scale=scale)
    for row in range(10):
        own = [float(rewards[other]) for other in range(10) if groups[other] == groups[row]]
        expected = float(rewards[row]) - statistics.fmean(own)
        if scale == "group":
            expected /= (statistics.stdev(own) if len(own) > 1 else 0) + 1e-4
        elif scale == "batch":
            expected /= statistics.stdev(rewards.tolist()) + 1e-4
        assert float(found[row]) == pytest.approx(expected, abs=1e-4)


@given(seed=seeds)
def test_leave_one_out_compares_with_the_others(seed):
    rewards, groups = groups_of(seed)
    found = leave_one_out_advantages(rewards, groups)
    for row in range(10):
        others = [
            float(rewards[other]) for other in range(10) if other != row and groups[other] == groups[row]
        ]
        expected = float(rewards[row]) - statistics.fmean(others) if others else 0
        assert float(found[row]) == pytest.approx(expected, abs=1e-5)


def test_groups_that_all_earned_the_same_have_no_spread():
    rewards = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.5])
    groups = torch.tensor([4, 4, 2, 2, 9])
    assert groups_with_spread(rewards, groups).tolist() == [True, True, False, False, False]
    assert bool((group_advantages(rewards, groups)[2:] == 0).all())


def test_overlong_punishment_sets_in_softly():
    lengths = torch.tensor([0, 80, 90, 100, 130])
    assert overlong_punishment(lengths, longest=100, buffer=20).tolist() == [0, 0, -0.5, -1, -1]
    assert overlong_punishment(lengths, longest=100, buffer=0).tolist() == [0, 0, 0, 0, -1]
