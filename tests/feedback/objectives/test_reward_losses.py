import math

import pytest
import torch
from hypothesis import strategies as st
from random_batches import given, normal, padded, random_mask

from jielong.feedback.objectives.masked import means
from jielong.feedback.objectives.reward import bradley_terry_loss, log_tie_probability, step_reward_loss

seeds = st.integers(0, 10_000)


def test_equal_scores_cost_log_2():
    scores = normal(0, 4)
    assert float(bradley_terry_loss(scores, scores)[0]) == pytest.approx(math.log(2), abs=1e-6)


@given(difference=st.floats(-8, 8), eta=st.floats(0.01, 3))
def test_win_tie_and_loss_are_all_that_can_happen(difference, eta):
    chosen, rejected = torch.tensor([difference], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    win = math.exp(-bradley_terry_loss(chosen, rejected, tie_margin=eta)[0])
    loss = math.exp(-bradley_terry_loss(rejected, chosen, tie_margin=eta)[0])
    tie = math.exp(float(log_tie_probability(chosen, eta)))
    assert win + tie + loss == pytest.approx(1, abs=1e-9)


def test_ties_draw_the_scores_together_and_count_in_no_accuracy():
    chosen = torch.tensor([2.0, 2.0], requires_grad=True)
    rejected = torch.tensor([0.0, 0.0], requires_grad=True)
    loss, statistics = bradley_terry_loss(chosen, rejected, ties=torch.tensor([True, False]), tie_margin=0.5)
    loss.backward()
    assert float(chosen.grad[0]) > 0 > float(chosen.grad[1])
    assert statistics["accuracy"].tolist() == [1, 1]
    assert statistics["score"].tolist() == [2, 2]


def test_ties_without_a_margin_are_refused():
    with pytest.raises(ValueError, match="tie_margin"):
        bradley_terry_loss(torch.ones(1), torch.ones(1), ties=torch.tensor([True]))


def test_a_margin_is_a_shift_and_centring_sees_the_sum():
    chosen, rejected, margin = normal(1, 5), normal(2, 5), normal(3, 5).abs()
    shifted, _ = bradley_terry_loss(chosen - margin, rejected)
    torch.testing.assert_close(bradley_terry_loss(chosen, rejected, margin=margin)[0], shifted)
    plain, _ = bradley_terry_loss(chosen, rejected)
    centred, _ = bradley_terry_loss(chosen, rejected, centring=0.1)
    torch.testing.assert_close(centred - plain, 0.1 * (chosen + rejected).square().mean())


@given(seed=seeds, rows=st.integers(1, 3))
def test_masked_pairs_change_nothing(seed, rows):
    chosen, rejected = normal(seed, 4), normal(seed + 1, 4)
    ties = torch.tensor([True, False, False, True])
    settings = {"centring": 0.1, "tie_margin": 0.3, "label_smoothing": 0.1}
    plain, statistics = bradley_terry_loss(chosen, rejected, ties=ties, **settings)
    more = [torch.cat([part, torch.full((rows,), float("nan"))]) for part in (chosen, rejected)]
    more_ties = torch.cat([ties, torch.ones(rows, dtype=torch.bool)])
    found, more_statistics = bradley_terry_loss(
        *more, ties=more_ties, mask=torch.arange(4 + rows) < 4, **settings
    )
    torch.testing.assert_close(found, plain)
    assert means(more_statistics) == pytest.approx(means(statistics))


@given(seed=seeds)
def test_micro_batches_add_up(seed):
    chosen, rejected = normal(seed, 6), normal(seed + 1, 6)
    whole, _ = bradley_terry_loss(chosen, rejected, centring=0.2)
    parts = [
        bradley_terry_loss(chosen[here], rejected[here], centring=0.2, normalizer=6)[0]
        for here in (slice(0, 1), slice(1, 6))
    ]
    torch.testing.assert_close(sum(parts), whole)


@given(seed=seeds, left=st.integers(0, 3), right=st.integers(0, 3), rows=st.integers(0, 2))
def test_step_rewards_are_cross_entropies_at_the_ends_of_steps(seed, left, right, rows):
    logits, ends = normal(seed, 3, 5), random_mask(seed, 3, 5)
    labels = (normal(seed + 1, 3, 5) > 0).float()
    total = [
        -math.log(1 / (1 + math.exp(-logit if label else logit)))
        for logit, label, end in zip(
            logits.flatten().tolist(), labels.flatten().tolist(), ends.flatten().tolist(), strict=True
        )
        if end
    ]
    loss, _ = step_reward_loss(logits, labels, ends)
    assert float(loss) == pytest.approx(sum(total) / len(total), rel=1e-4)
    more = padded(logits, left, right, rows, float("nan")).requires_grad_()
    found, _ = step_reward_loss(
        more, padded(labels, left, right, rows, float("nan")), padded(ends, left, right, rows, False)
    )
    found.backward()
    torch.testing.assert_close(found, loss)
    assert bool(more.grad.isfinite().all())
