"""Losses over whole vocabularies, a few tokens at a time: log-probabilities, entropies, divergences."""

import math
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from jielong.feedback.objectives.masked import Statistics, tally

Head = Callable[[Tensor], Tensor]
"""From hidden states [N, D] to logits [N, V]; the identity where logits are at hand."""
_LOWEST = -1e30  # stands for the logarithm of zero
LOGITS_AT_ONCE = 1 << 23
"""Logits that are held at once in float32, 32 MiB; two sets of them, and as many for their gradients."""


def token_divergences(student: Tensor, teacher: Tensor, *, beta: float, temperature: float = 1.0) -> Tensor:
    """Generalized Jensen-Shannon divergence between two distributions over a vocabulary, in nats: [N].

    Agarwal et al. 2024 (GKD, arXiv 2306.13649), equation 1: with M = beta T + (1 - beta) S it is
    beta KL(T || M) + (1 - beta) KL(S || M). As in the paper's experiments the ends stand for what the
    divergence tends to when it is divided by beta and by 1 - beta: 0 is the forward KL(teacher || student),
    which covers all that the teacher does; 1 the reverse KL(student || teacher), which does nothing that the
    teacher would not.

    Args:
        student: [N, V] logits.
        teacher: [N, V] logits.
        beta: between 0 and 1.
        temperature: divides both.
    """
    s, t = _log_softmax(student, temperature), _log_softmax(teacher, temperature)
    if beta == 0:
        return _kl(t, s)
    if beta == 1:
        return _kl(s, t)
    mixture = torch.logaddexp(t + math.log(beta), s + math.log1p(-beta))
    return beta * _kl(t, mixture) + (1 - beta) * _kl(s, mixture)


def distillation_loss(
    student: Tensor,
    student_head: Head,
    teacher: Tensor,
    teacher_head: Head,
    mask: Tensor,
    *,
    beta: float = 0.5,
    temperature: float = 1.0,
    normalizer: Tensor | float | None = None,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> tuple[Tensor, Statistics]:
    """The divergence from a teacher at the counted tokens, without ever holding the logits of all of them.

    Hinton et al. 2015 (arXiv 1503.02531); on-policy, of completions that the student wrote, Agarwal et al.
    2024 (arXiv 2306.13649). Logits are computed in parts, and again on the way back.

    Args:
        student: [B, T, D] hidden states, which get the gradient.
        student_head: makes logits of them.
        teacher: [B, T, D'] hidden states; no gradient.
        teacher_head: makes logits of them, over the same vocabulary.
        mask: [B, T] True = counts: positions whose next token is to be learned.
        beta: 0 forward KL, 1 reverse KL, between: see `token_divergences`.
        temperature: divides the logits of both.
        normalizer: tokens of the whole optimizer step; None = of this batch.
        logits_at_once: how many logits of each model a part may have.
    """
    ours, theirs = student[mask], teacher[mask].detach()

    def of_part(part: Tensor, teacher_part: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = teacher_head(teacher_part)
        return token_divergences(student_head(part), wanted, beta=beta, temperature=temperature)

    divergences = in_parts(of_part, (ours, theirs), student_head, logits_at_once)
    counted = torch.ones_like(divergences, dtype=torch.bool)
    units = max(len(ours), 1) if normalizer is None else normalizer
    return divergences.sum() / units, {"divergence": tally(divergences, counted)}


def token_logprobs(
    hidden: Tensor,
    head: Head,
    targets: Tensor,
    mask: Tensor,
    *,
    temperature: float = 1.0,
    learn_entropy: bool = False,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of given tokens, and the entropies of the distributions they were drawn from.

    Args:
        hidden: [B, T, D] hidden states at the positions *before* the tokens.
        head: makes logits of them.
        targets: [B, T] token ids.
        mask: [B, T] True = wanted; only these are computed.
        temperature: that the tokens are sampled at.
        learn_entropy: whether the entropies carry a gradient too, for `policy.entropy_bonus`.
        logits_at_once: how many logits a part may have.

    Returns:
        Both [B, T] in float32, zero where the mask is False.
    """

    def of_part(part: Tensor, tokens: Tensor) -> Tensor:
        logs = torch.log_softmax(_warmed(head(part), temperature), -1)
        chosen = logs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        with torch.set_grad_enabled(learn_entropy and torch.is_grad_enabled()):
            entropies = -(logs.exp() * logs.clamp(min=_LOWEST)).sum(-1)
        return torch.stack([chosen, entropies], -1)

    found = in_parts(of_part, (hidden[mask], targets[mask]), head, logits_at_once, width=2)
    # Not by assignment in place: the gradient has to find its way back.
    placed = torch.zeros(*mask.shape, 2, device=hidden.device).masked_scatter(mask.unsqueeze(-1), found)
    return placed[..., 0], placed[..., 1]


def in_parts(
    function: Callable[..., Tensor], tensors: tuple[Tensor, Tensor], head: Head, most: int, width: int = 0
) -> Tensor:
    """Apply a function to a few rows at a time; with several parts, each is computed again for its gradient.

    Args:
        function: of parts of the tensors, [n, ...] -> [n] or [n, width].
        tensors: [N, ...] each.
        head: tells how wide the logits are.
        most: logits that a part may have.
        width: columns of the result; 0 for [N].
    """
    first, second = tensors
    if len(first) == 0:
        return first.new_zeros((0, width) if width else 0, dtype=torch.float32)
    with torch.no_grad():
        vocabulary = head(first[:1]).shape[-1]
    rows = max(1, most // vocabulary)
    if len(first) <= rows:
        return function(first, second)
    parts = zip(torch.split(first, rows), torch.split(second, rows), strict=True)
    return torch.cat(
        [
            cast(Tensor, checkpoint(function, *part, use_reentrant=False, preserve_rng_state=False))
            for part in parts
        ]
    )


def _kl(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of log-probabilities [N, V]: [N]."""
    return (p.exp() * (p - q)).sum(-1)


def _log_softmax(logits: Tensor, temperature: float) -> Tensor:
    """In float32, with a finite number for what is ruled out, as 0 times infinity is NaN."""
    return torch.log_softmax(_warmed(logits, temperature), -1).clamp(min=_LOWEST)


def _warmed(logits: Tensor, temperature: float) -> Tensor:
    logits = logits.float()
    return logits if temperature == 1 else logits / temperature
