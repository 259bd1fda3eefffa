import math

import pytest
import torch
from hypothesis import strategies as st
from random_batches import given, logprobs, normal, padded, random_mask

from jielong.feedback.objectives.masked import means
from jielong.feedback.objectives.policy import (
    clipped_policy_loss,
    entropy_bonus,
    importance_weights,
    log_ratios,
    value_loss,
)

seeds = st.integers(0, 10_000)
LEVELS = ["token", "sequence", "geometric"]
HOW = ["token-mean", "sequence-mean", "sequence-sum"]


def batch(seed, rows=4, length=6):
    new, old = logprobs(seed, rows, length), logprobs(seed + 1, rows, length)
    return new, old, normal(seed + 2, rows, length), random_mask(seed, rows, length)


def slow_surrogate(new, old, advantages, mask, low, high, dual, level):
    """Mean over tokens, with loops."""
    total, count = 0.0, 0
    for row in range(len(new)):
        places = [place for place in range(new.shape[1]) if mask[row, place]]
        logs = {place: float(new[row, place] - old[row, place]) for place in places}
        for place in places:
            log = logs[place]
            if level != "token":
                log = sum(logs.values()) / (len(logs) if level == "geometric" else 1)
            ratio, advantage = math.exp(log), float(advantages[row, place])
            gain = min(ratio * advantage, min(max(ratio, 1 - low), 1 + high) * advantage)
            if dual is not None and advantage < 0:
                gain = max(gain, dual * advantage)
            total, count = total - gain, count + 1
    return total / count


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dual", [None, 1.5])
@given(seed=seeds)
def test_the_surrogate_is_what_loops_give(level, dual, seed):
    parts = batch(seed)
    loss, _ = clipped_policy_loss(*parts, clip_low=0.1, clip_high=0.2, dual_clip=dual, level=level)
    assert float(loss) == pytest.approx(slow_surrogate(*parts, 0.1, 0.2, dual, level), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("how", HOW)
@given(seed=seeds)
def test_at_a_ratio_of_one_the_gradient_is_the_policy_gradient(level, how, seed):
    new, _, advantages, mask = batch(seed)
    if level != "token":  # then the credit of a sequence is one number
        advantages = advantages[:, :1].expand_as(advantages)
    new.requires_grad_()
    loss, statistics = clipped_policy_loss(new, new.detach(), advantages, mask, level=level, how=how)
    loss.backward()
    assert means(statistics)["ratio"] == 1
    assert means(statistics)["clipped_low"] == means(statistics)["clipped_high"] == 0
    if (
        level == "sequence"
    ):  # every token of a row carries the whole row's ratio: as often as there are tokens
        advantages = advantages * mask.sum(-1, keepdim=True)
    counted = mask.sum() if how == "token-mean" else torch.tensor(len(mask))
    weight = 1 / mask.sum(-1, keepdim=True) if how == "sequence-mean" else 1.0
    expected = torch.where(mask, -advantages * weight / counted, 0.0)
    torch.testing.assert_close(new.grad, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("how", HOW)
@given(seed=seeds, left=st.integers(0, 2), right=st.integers(0, 2), rows=st.integers(0, 2))
def test_padding_changes_neither_loss_nor_gradient_nor_statistics(level, how, seed, left, right, rows):
    parts = batch(seed)
    results = []
    for given_parts in (parts, [padded(part, left, right, rows, _fill(part)) for part in parts]):
        new = given_parts[0].clone().requires_grad_()
        loss, statistics = clipped_policy_loss(
            new, *given_parts[1:], level=level, how=how, dual_clip=2.0, weights=given_parts[1].exp()
        )
        loss.backward()
        results.append((loss, new.grad[given_parts[3]], means(statistics)))
        assert bool((new.grad[~given_parts[3]] == 0).all())
    torch.testing.assert_close(results[0][:2], results[1][:2])
    assert results[0][2] == pytest.approx(results[1][2], rel=1e-5, abs=1e-7)


def _fill(part):
    return False if part.dtype == torch.bool else float("nan")


@given(seed=seeds)
def test_rows_may_come_in_any_order(seed):
    parts = batch(seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        clipped_policy_loss(*parts)[0], clipped_policy_loss(*(part[order] for part in parts))[0]
    )


@given(seed=seeds, low=st.floats(0, 0.9), high=st.floats(0, 2))
def test_clipped_shares_are_shares_and_clipped_tokens_have_no_gradient(seed, low, high):
    new, old, advantages, mask = batch(seed)
    new.requires_grad_()
    loss, statistics = clipped_policy_loss(new, old, advantages, mask, clip_low=low, clip_high=high)
    loss.backward()
    found = means(statistics)
    assert 0 <= found["clipped_low"] + found["clipped_high"] <= 1
    assert found["kl_old_k3"] >= 0
    silent = (new.grad == 0) & mask & (advantages != 0)
    assert int(silent.sum()) == int(statistics["clipped_low"][0] + statistics["clipped_high"][0])


def test_advantages_of_completions_are_those_of_their_tokens():
    new, old, advantages, mask = batch(5)
    one = advantages[:, 0]
    torch.testing.assert_close(
        clipped_policy_loss(new, old, one, mask)[0],
        clipped_policy_loss(new, old, one.unsqueeze(1).expand_as(new), mask)[0],
    )


@pytest.mark.parametrize("level", LEVELS)
@given(seed=seeds, highest=st.floats(1, 3))
def test_importance_weights_are_bounded_and_one_where_nothing_differs(level, seed, highest):
    new, old, _, mask = batch(seed)
    same, _ = importance_weights(new, new, mask, level=level)
    assert torch.equal(same, mask.float())
    cut, statistics = importance_weights(new, old, mask, highest=highest, level=level)
    dropped, _ = importance_weights(new, old, mask, highest=highest, level=level, bounding="masked")
    ratios = log_ratios(new, old, mask, level).exp()
    assert bool((cut <= highest).all()) and bool((cut[~mask] == 0).all())
    assert torch.equal(dropped > 0, mask & (ratios <= highest))
    torch.testing.assert_close(dropped[dropped > 0], cut[dropped > 0])
    assert 0 <= means(statistics)["rollout_out_of_bounds"] <= 1


@pytest.mark.parametrize("clip", [None, 0.1])
@given(seed=seeds, left=st.integers(0, 2), rows=st.integers(0, 2))
def test_the_critic_pays_for_the_worse_of_its_values(clip, seed, left, rows):
    values, old, returns, mask = batch(seed)
    total = []
    for v, o, r, counted in zip(*(part.flatten().tolist() for part in batch(seed)), strict=True):
        if counted:
            held = v if clip is None else min(max(v, o - clip), o + clip)
            total.append(max((v - r) ** 2, (held - r) ** 2) / 2)
    loss, statistics = value_loss(values, old, returns, mask, clip=clip)
    assert float(loss) == pytest.approx(sum(total) / len(total), rel=1e-4)
    assert 0 <= means(statistics)["value_clipped"] <= 1
    more = [padded(part, left, 1, rows, _fill(part)) for part in (values, old, returns, mask)]
    more[0].requires_grad_()
    found, _ = value_loss(*more, clip=clip)
    found.backward()
    torch.testing.assert_close(found, loss)
    assert bool(more[0].grad.isfinite().all())


def test_an_entropy_bonus_raises_entropy():
    entropies = normal(0, 2, 3).abs().requires_grad_()
    mask = torch.tensor([[True, True, False], [True, False, False]])
    loss, statistics = entropy_bonus(entropies, mask, coefficient=0.5)
    loss.backward()
    torch.testing.assert_close(entropies.grad, torch.where(mask, -0.5 / 3, 0.0))
    assert means(statistics)["entropy"] == pytest.approx(entropies[mask].mean().item())
