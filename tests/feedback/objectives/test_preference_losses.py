import math

import pytest
import torch
from hypothesis import strategies as st
from random_batches import given, logprobs

from jielong.feedback.objectives.masked import means
from jielong.feedback.objectives.preference import (
    dpo_loss,
    ipo_loss,
    kto_loss,
    kto_reference_point,
    orpo_loss,
    simpo_loss,
)

seeds = st.integers(0, 10_000)


def four(seed, pairs=5):
    return [10 * logprobs(4 * seed + number, pairs) for number in range(4)]


def kto(chosen, rejected, ref_chosen, ref_rejected, **more):
    """All pairs as thumbs."""
    desirable = torch.arange(len(chosen)) % 2 == 0
    return kto_loss(chosen, ref_chosen, desirable, 0.3, **more)


def without_reference(loss):
    return lambda chosen, rejected, *_, **more: loss(chosen / 10, rejected / 10, **more)


LOSSES = {
    "dpo": dpo_loss,
    "cdpo": lambda *given, **more: dpo_loss(*given, label_smoothing=0.2, **more),
    "ipo": ipo_loss,
    "kto": kto,
    "orpo": without_reference(orpo_loss),
    "simpo": without_reference(simpo_loss),
}
each = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())


@given(seed=seeds, smoothing=st.floats(0, 0.49), beta=st.floats(0.01, 2))
def test_dpo_of_equal_policies_is_log_2(seed, smoothing, beta):
    chosen, rejected, _, _ = four(seed)
    loss, statistics = dpo_loss(chosen, rejected, chosen, rejected, beta=beta, label_smoothing=smoothing)
    assert float(loss) == pytest.approx(math.log(2), abs=1e-6)
    assert means(statistics)["margin"] == 0


def test_dpo_is_the_formula_of_the_paper():
    chosen, rejected, ref_chosen, ref_rejected = four(1)
    total = 0.0
    for c, r, rc, rr in zip(*(part.tolist() for part in four(1)), strict=True):
        total -= math.log(1 / (1 + math.exp(-0.3 * ((c - rc) - (r - rr)))))
    loss, _ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, beta=0.3)
    assert float(loss) == pytest.approx(total / 5, rel=1e-5)


def test_smoothing_labels_is_mixing_in_the_flipped_ones():
    chosen, rejected, ref_chosen, ref_rejected = four(2)
    right, _ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected)
    flipped, _ = dpo_loss(rejected, chosen, ref_rejected, ref_chosen)
    mixed, _ = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, label_smoothing=0.1)
    torch.testing.assert_close(mixed, 0.9 * right + 0.1 * flipped)


def test_ipo_is_least_at_its_margin():
    zeros = torch.zeros(3)
    assert float(ipo_loss(zeros + 5.0, zeros, zeros, zeros, tau=0.1)[0]) == 0
    assert float(ipo_loss(zeros + 7.0, zeros, zeros, zeros, tau=0.1)[0]) == pytest.approx(4)


def test_kto_at_its_reference_point_is_half_and_the_point_is_never_negative():
    logs = logprobs(0, 6)
    desirable = torch.tensor([True, False] * 3)
    loss, _ = kto_loss(logs + 0.5, logs, desirable, 0.5)
    assert float(loss) == pytest.approx(0.5, abs=1e-6)
    assert float(kto_reference_point(logs - 1, logs)) == 0
    assert float(kto_reference_point(logs + 1, logs)) == pytest.approx(1)


def test_orpo_with_even_odds_is_the_negative_log_likelihood_and_log_2():
    logs = torch.tensor([-0.1, -0.7, -3.0, -30.0])
    loss, statistics = orpo_loss(logs, logs, weight=0.5)
    assert float(loss) == pytest.approx(-float(logs.mean()) + 0.5 * math.log(2), rel=1e-6)
    assert means(statistics)["log_odds"] == 0


def test_orpo_has_a_gradient_at_certainty():
    chosen = torch.tensor([0.0, -1e-9, -50.0], requires_grad=True)
    orpo_loss(chosen, torch.tensor([-1.0, 0.0, -80.0]))[0].backward()
    assert bool(chosen.grad.isfinite().all())


@each
@given(seed=seeds)
def test_the_order_of_the_pairs_does_not_matter(loss, seed):
    parts = four(seed, 6)
    order = torch.tensor([4, 1, 2, 5, 0, 3])  # keeps even places even: KTO's labels go by place
    if loss is kto:
        order = torch.tensor([4, 1, 0, 5, 2, 3])
    torch.testing.assert_close(loss(*parts)[0], loss(*(part[order] for part in parts))[0])


@each
@given(seed=seeds, rows=st.integers(1, 3))
def test_masked_pairs_change_neither_loss_nor_gradient_nor_statistics(loss, seed, rows):
    parts = [part.requires_grad_() for part in four(seed)]
    plain, statistics = loss(*parts)
    plain.backward()
    more = [torch.cat([part.detach(), torch.full((rows,), float("nan"))]).requires_grad_() for part in parts]
    mask = torch.arange(5 + rows) < 5
    masked, masked_statistics = loss(*more, mask=mask)
    masked.backward()
    torch.testing.assert_close(masked, plain)
    assert means(masked_statistics) == pytest.approx(means(statistics))
    for part, longer in zip(parts, more, strict=True):
        if part.grad is not None:
            torch.testing.assert_close(longer.grad[:5], part.grad)
            assert bool((longer.grad[5:] == 0).all())


@each
@given(seed=seeds)
def test_micro_batches_add_up(loss, seed):
    parts = four(seed, 6)
    whole, _ = loss(*parts)
    halves = [loss(*(part[here] for part in parts), normalizer=6)[0] for here in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(halves), whole)


@each
def test_the_loss_falls_where_the_chosen_gains(loss):
    logs = four(3)[0]
    chosen = logs.clone().requires_grad_()
    loss(chosen, logs, logs, logs)[0].backward()
    up = slice(0, None, 2) if loss is kto else slice(None)  # the thumbs up
    assert bool((chosen.grad[up] < 0).all())
