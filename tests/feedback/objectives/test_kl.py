import json

import pytest
import torch
from hypothesis import strategies as st
from random_batches import given, logprobs, normal, padded, random_mask

from jielong.feedback.objectives.kl import (
    KlController,
    kl_estimates,
    kl_loss,
    kl_rewards,
    last_counted,
)
from jielong.feedback.objectives.masked import means

seeds = st.integers(0, 10_000)
ESTIMATORS = ["k1", "k2", "k3"]


@given(seed=seeds)
def test_k1_and_k3_are_right_on_average_and_k3_and_k2_are_never_negative(seed):
    policy, reference = (torch.log_softmax(normal(seed + n, 7).double(), 0) for n in range(2))
    exact = float((policy.exp() * (policy - reference)).sum())
    for name in ("k1", "k3"):
        estimates = kl_estimates(policy, reference, name)
        assert float((policy.exp() * estimates).sum()) == pytest.approx(exact, abs=1e-9)
    assert bool((kl_estimates(policy, reference, "k2") >= 0).all())
    assert bool((kl_estimates(policy, reference, "k3") >= -1e-12).all())


def test_gradients_are_those_that_the_docstring_names():
    logits = normal(0, 7).double().requires_grad_()
    reference = torch.log_softmax(normal(1, 7).double(), 0)

    def gradient(make):
        policy = torch.log_softmax(logits, 0)
        return torch.autograd.grad(make(policy), logits)[0]

    def on_average(name):  # the samples' weights are constants, as they are in a rollout
        return gradient(lambda policy: (policy.exp().detach() * kl_estimates(policy, reference, name)).sum())

    torch.testing.assert_close(on_average("k1"), torch.zeros(7, dtype=torch.float64))
    torch.testing.assert_close(
        on_average("k2"), gradient(lambda policy: (policy.exp() * (policy - reference)).sum())
    )
    torch.testing.assert_close(
        on_average("k3"), gradient(lambda policy: (reference.exp() * (reference - policy)).sum())
    )


@pytest.mark.parametrize("estimator", ESTIMATORS)
@given(seed=seeds, left=st.integers(0, 2), right=st.integers(0, 2), rows=st.integers(0, 2))
def test_padding_changes_nothing(estimator, seed, left, right, rows):
    policy, reference, mask = logprobs(seed, 3, 5), logprobs(seed + 1, 3, 5), random_mask(seed, 3, 5)
    scores = normal(seed, 3)
    nan = float("nan")
    more = padded(policy, left, right, rows, nan).requires_grad_()
    more_reference = padded(reference, left, right, rows, nan)
    more_mask = padded(mask, left, right, rows, False)
    loss, statistics = kl_loss(policy, reference, mask, coefficient=0.1, estimator=estimator)
    found, more_statistics = kl_loss(more, more_reference, more_mask, coefficient=0.1, estimator=estimator)
    found.backward()
    torch.testing.assert_close(found, loss)
    assert means(more_statistics) == pytest.approx(means(statistics))
    assert bool(more.grad.isfinite().all())
    rewards, _ = kl_rewards(scores, policy, reference, mask, coefficient=0.1, estimator=estimator)
    more_scores = torch.cat([scores, torch.full((rows,), nan)])
    found, _ = kl_rewards(more_scores, more, more_reference, more_mask, coefficient=0.1, estimator=estimator)
    torch.testing.assert_close(found[more_mask], rewards[mask])
    assert bool((found[~more_mask] == 0).all())


@given(seed=seeds)
def test_rewards_of_a_row_sum_to_its_score_less_its_divergence(seed):
    policy, reference, mask = logprobs(seed, 3, 5), logprobs(seed + 1, 3, 5), random_mask(seed, 3, 5)
    scores = normal(seed, 3)
    rewards, statistics = kl_rewards(scores, policy, reference, mask, coefficient=0.2)
    divergence = torch.where(mask, policy - reference, 0.0).sum(1)
    torch.testing.assert_close(rewards.sum(1), scores - 0.2 * divergence)
    assert means(statistics)["kl_sequence"] == pytest.approx(float(divergence.mean()), abs=1e-5)


def test_the_score_is_earned_by_the_last_counted_token():
    mask = torch.tensor([[False, True, True, False], [True, False, True, True], [False] * 4])
    assert last_counted(mask).tolist() == [
        [False, False, True, False],
        [False, False, False, True],
        [False] * 4,
    ]


def test_a_weight_of_one_changes_nothing():
    policy, reference, mask = logprobs(0, 3, 5), logprobs(1, 3, 5), random_mask(0, 3, 5)
    plain, _ = kl_loss(policy, reference, mask, coefficient=1.0)
    weighed, _ = kl_loss(policy, reference, mask, coefficient=1.0, weights=torch.ones(3, 5))
    torch.testing.assert_close(weighed, plain)


@given(kl=st.floats(0, 100), completions=st.integers(1, 512))
def test_a_controller_steers_towards_its_target(kl, completions):
    before = KlController(0.2, target=6.0)
    after = before.after(kl, completions)
    assert (after.coefficient > 0.2) == (kl > 6.0) or kl == pytest.approx(6.0, rel=1e-6)
    assert abs(after.coefficient / 0.2 - 1) <= 0.2 * completions / 10_000 + 1e-12
    fixed = KlController(0.2)
    assert fixed.after(kl, completions) == fixed


def test_a_controller_goes_on_where_its_state_left_off():
    controller = KlController(0.2, target=3.0, horizon=100)
    for kl in (9.0, 1.0, 5.0):
        controller = controller.after(kl, 16)
    state = json.loads(json.dumps(controller.state()))
    assert KlController(0.2, target=3.0, horizon=100).restored(state) == controller
