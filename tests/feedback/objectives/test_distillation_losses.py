import pytest
import torch
from hypothesis import strategies as st
from random_batches import given, normal, padded_hidden, random_mask

from jielong.feedback.objectives.distillation import distillation_loss, token_divergences, token_logprobs
from jielong.feedback.objectives.masked import means

seeds = st.integers(0, 10_000)
betas = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
VOCABULARY = 11


def heads(seed):
    ours, theirs = normal(seed, VOCABULARY, 4), normal(seed + 1, VOCABULARY, 6)
    return ours.requires_grad_(), theirs


def slow_divergence(student, teacher, beta, temperature):
    """Of one token, from the definition."""
    s = torch.softmax(student.double() / temperature, 0).tolist()
    t = torch.softmax(teacher.double() / temperature, 0).tolist()

    def kl(p, q):
        return sum(a * float(torch.tensor(a / b).double().log()) for a, b in zip(p, q, strict=True))

    if beta in (0, 1):
        return kl(t, s) if beta == 0 else kl(s, t)
    m = [beta * b + (1 - beta) * a for a, b in zip(s, t, strict=True)]
    return beta * kl(t, m) + (1 - beta) * kl(s, m)


@given(seed=seeds, beta=betas, temperature=st.sampled_from([0.5, 1.0, 2.0]))
def test_divergences_are_what_loops_give(seed, beta, temperature):
    student, teacher = normal(seed, 3, 5), normal(seed + 1, 3, 5)
    found = token_divergences(student, teacher, beta=beta, temperature=temperature)
    for row in range(3):
        expected = slow_divergence(student[row], teacher[row], beta, temperature)
        assert float(found[row]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(seed=seeds, beta=betas)
def test_a_divergence_is_zero_from_itself_and_never_negative(seed, beta):
    student, teacher = normal(seed, 3, 5), normal(seed + 1, 3, 5)
    assert bool((token_divergences(student, teacher, beta=beta) >= -1e-6).all())
    torch.testing.assert_close(
        token_divergences(student, student, beta=beta), torch.zeros(3), atol=1e-6, rtol=0
    )


@given(seed=seeds, beta=betas, at_once=st.sampled_from([1, 3 * VOCABULARY, 1000]))
def test_parts_give_the_loss_and_the_gradients_of_the_whole(seed, beta, at_once):
    results = []
    for most in (10**9, at_once):
        ours, theirs = heads(seed)
        student, teacher = normal(seed + 2, 3, 5, 4).requires_grad_(), normal(seed + 3, 3, 5, 6)
        loss, statistics = distillation_loss(
            student, lambda part, w=ours: part @ w.T, teacher, lambda part, w=theirs: part @ w.T,
            random_mask(seed, 3, 5), beta=beta, temperature=1.5, logits_at_once=most,
        )  # fmt: skip
        loss.backward()
        results.append((loss.detach(), student.grad, ours.grad))
        assert means(statistics)["divergence"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
    torch.testing.assert_close(results[0], results[1])


@given(seed=seeds, left=st.integers(0, 2), rows=st.integers(0, 2))
def test_padding_changes_nothing(seed, left, rows):
    ours, theirs = heads(seed)
    student, teacher, mask = normal(seed + 2, 3, 5, 4), normal(seed + 3, 3, 5, 6), random_mask(seed, 3, 5)
    more = [padded_hidden(part, left, rows) for part in (student, teacher)]
    more_mask = torch.zeros(3 + rows, left + 5, dtype=torch.bool)
    more_mask[:3, left:] = mask

    def loss(s, t, m):
        return distillation_loss(s, lambda part: part @ ours.T, t, lambda part: part @ theirs.T, m)[0]

    torch.testing.assert_close(loss(*more, more_mask), loss(student, teacher, mask))


def test_what_both_models_rule_out_adds_nothing_and_breaks_no_gradient():
    student = torch.tensor([[0.0, 1.0, -torch.inf]], requires_grad=True)
    teacher = torch.tensor([[0.5, 0.0, -torch.inf]])
    for beta in (0.0, 0.5, 1.0):
        divergence = token_divergences(student, teacher, beta=beta)
        (gradient,) = torch.autograd.grad(divergence.sum(), student)
        without = token_divergences(student[:, :2], teacher[:, :2], beta=beta)
        torch.testing.assert_close(divergence, without)
        assert bool(gradient.isfinite().all())


def test_nothing_to_learn_is_a_loss_of_zero():
    hidden = normal(0, 2, 3, 4).requires_grad_()
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    loss, statistics = distillation_loss(
        hidden, lambda part: part, hidden.detach(), lambda part: part, nothing
    )
    assert float(loss) == 0
    assert means(statistics) == {}


@given(
    seed=seeds, at_once=st.sampled_from([1, 3 * VOCABULARY, 1000]), temperature=st.sampled_from([0.7, 1.0])
)
def test_token_logprobs_and_entropies_in_parts_equal_those_of_whole_logits(seed, at_once, temperature):
    mask = random_mask(seed, 3, 5)
    targets = torch.randint(0, VOCABULARY, (3, 5), generator=torch.Generator().manual_seed(seed))
    weight = normal(seed + 1, VOCABULARY, 4).requires_grad_()
    hidden = normal(seed, 3, 5, 4).requires_grad_()
    found, entropies = token_logprobs(
        hidden,
        lambda part: part @ weight.T,
        targets,
        mask,
        temperature=temperature,
        learn_entropy=True,
        logits_at_once=at_once,
    )
    logs = torch.log_softmax(hidden @ weight.T / temperature, -1)
    expected = torch.where(mask, logs.gather(-1, targets.unsqueeze(-1)).squeeze(-1), 0.0)
    expected_entropies = torch.where(mask, -(logs.exp() * logs).sum(-1), 0.0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(entropies, expected_entropies)
    parts = torch.autograd.grad((found + 2 * entropies).sum(), (hidden, weight))
    whole = torch.autograd.grad((expected + 2 * expected_entropies).sum(), (hidden, weight))
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)
