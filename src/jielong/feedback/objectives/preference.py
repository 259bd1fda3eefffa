"""Losses that learn a policy from preferences directly: DPO, IPO, KTO, ORPO, SimPO.

A log-probability here is that of a whole completion given its prompt: the sum over its tokens
(`masked.sum_by_row`), or the mean (`masked.mean_by_row`) where a function says so.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.feedback.objectives.masked import Statistics, aggregate, counted_rows, tally


def dpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """Direct preference optimisation.

    Rafailov et al. 2023 (arXiv 2305.18290), equation 7. With `label_smoothing` it is conservative DPO, which
    takes that share of the labels to be flipped (Mitchell 2023, "A note on DPO with noisy preferences").

    Args:
        chosen: [P] the policy's log-probabilities (sums) of the preferred completions.
        rejected: [P] of the others.
        ref_chosen: [P] the reference model's; no gradient is needed.
        ref_rejected: [P] likewise.
        beta: strength of the tie to the reference; larger stays nearer.
        label_smoothing: probability that a label is wrong, below 0.5.
        mask: [P] True = counts; None = all.
        normalizer: pairs of the whole optimizer step; None = of this batch.

    Returns:
        Loss, and the statistics of implicit rewards.
    """
    mask, (ours, others) = counted_rows(mask, chosen - ref_chosen, rejected - ref_rejected)
    rewards = beta * ours, beta * others
    losses = smoothed_logistic(rewards[0] - rewards[1], label_smoothing)
    return _of_pairs(losses, *rewards, mask, normalizer)


def ipo_loss(
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    tau: float = 0.1,
    mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """Identity preference optimisation: the margin is drawn to 1 / (2 tau) instead of to infinity.

    Azar et al. 2023 (arXiv 2310.12036), equation 17. The paper sums over tokens; its authors' results use
    means over tokens, which long completions do not dominate. Give whichever is wanted.

    Args:
        chosen: [P] the policy's log-probabilities, means over tokens or sums.
        rejected: [P] likewise.
        ref_chosen: [P] the reference model's.
        ref_rejected: [P] likewise.
        tau: strength of the regularisation.
        mask: [P] True = counts; None = all.
        normalizer: pairs of the whole optimizer step; None = of this batch.
    """
    mask, ratios = counted_rows(mask, chosen - ref_chosen, rejected - ref_rejected)
    losses = (ratios[0] - ratios[1] - 1 / (2 * tau)).square()
    return _of_pairs(losses, tau * ratios[0], tau * ratios[1], mask, normalizer)


def kto_loss(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    desirable: Tensor,
    reference_point: Tensor | float,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
    mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """Kahneman-Tversky optimisation: from thumbs up and down, without pairs.

    Ethayarajh et al. 2024 (arXiv 2402.01306), equation 7.

    Args:
        logprobs: [N] the policy's log-probabilities (sums) of completions.
        ref_logprobs: [N] the reference model's.
        desirable: [N] bool; True for a thumb up.
        reference_point: what a completion has to be better than: `kto_reference_point`.
        beta: how quickly gains and losses saturate.
        desirable_weight: lambda_D of the paper.
        undesirable_weight: lambda_U; the paper balances (weight times number) of both to within 4/3.
        mask: [N] True = counts; None = all.
        normalizer: completions of the whole optimizer step; None = of this batch.
    """
    mask, (ratios,) = counted_rows(mask, logprobs - ref_logprobs)
    gain = beta * (ratios - reference_point)
    losses = torch.where(
        desirable, desirable_weight * torch.sigmoid(-gain), undesirable_weight * torch.sigmoid(gain)
    )
    rewards = beta * ratios
    statistics = {
        "reward_desirable": tally(rewards, mask & desirable),
        "reward_undesirable": tally(rewards, mask & ~desirable),
        "reference_point": tally(torch.as_tensor(reference_point).expand_as(ratios), mask),
    }
    return aggregate(losses, mask, normalizer=normalizer), statistics


def kto_reference_point(logprobs: Tensor, ref_logprobs: Tensor, mask: Tensor | None = None) -> Tensor:
    """KTO's z0: the divergence from the reference, guessed from completions of *other* prompts; at least 0.

    Ethayarajh et al. 2024 (arXiv 2402.01306). No gradient passes.

    Args:
        logprobs: [N] the policy's log-probabilities (sums) of completions under prompts they do not answer.
        ref_logprobs: [N] the reference model's.
        mask: [N] True = counts; None = all.
    """
    mask, (ratios,) = counted_rows(mask, (logprobs - ref_logprobs).detach())
    return aggregate(ratios, mask).clamp(min=0)


def orpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    *,
    weight: float = 0.1,
    mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """Odds ratio preference optimisation: fine-tuning on the chosen, with a penalty, without a reference.

    Hong et al. 2024 (arXiv 2403.07691), equations 6 and 7.

    Args:
        chosen: [P] the policy's *mean* log-probability a token of the preferred completions.
        rejected: [P] of the others.
        weight: lambda of the paper, of the odds ratio beside the negative log-likelihood.
        mask: [P] True = counts; None = all.
        normalizer: pairs of the whole optimizer step; None = of this batch.
    """
    mask, (chosen, rejected) = counted_rows(mask, chosen, rejected)
    log_odds = (chosen - _log1mexp(chosen)) - (rejected - _log1mexp(rejected))
    losses = -chosen - weight * F.logsigmoid(log_odds)
    loss, statistics = _of_pairs(losses, weight * chosen, weight * rejected, mask, normalizer)
    statistics |= {"nll": tally(-chosen, mask), "log_odds": tally(log_odds, mask)}
    return loss, statistics


def simpo_loss(
    chosen: Tensor,
    rejected: Tensor,
    *,
    beta: float = 2.0,
    gamma: float = 1.0,
    label_smoothing: float = 0.0,
    mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """Simple preference optimisation: mean log-probabilities are the rewards, without a reference.

    Meng et al. 2024 (arXiv 2405.14734), equation 6.

    Args:
        chosen: [P] the policy's *mean* log-probability a token of the preferred completions.
        rejected: [P] of the others.
        beta: scale of the reward.
        gamma: margin that the chosen one has to win by, in units of the reward.
        label_smoothing: probability that a label is wrong, below 0.5.
        mask: [P] True = counts; None = all.
        normalizer: pairs of the whole optimizer step; None = of this batch.
    """
    mask, (chosen, rejected) = counted_rows(mask, chosen, rejected)
    losses = smoothed_logistic(beta * (chosen - rejected) - gamma, label_smoothing)
    return _of_pairs(losses, beta * chosen, beta * rejected, mask, normalizer)


def smoothed_logistic(logits: Tensor, label_smoothing: float) -> Tensor:
    """-log sigmoid of the logits, with a share of the labels taken to be flipped."""
    right, flipped = -F.logsigmoid(logits), -F.logsigmoid(-logits)
    return (1 - label_smoothing) * right + label_smoothing * flipped


def _of_pairs(
    losses: Tensor,
    chosen_rewards: Tensor,
    rejected_rewards: Tensor,
    mask: Tensor,
    normalizer: Tensor | float | None,
) -> tuple[Tensor, Statistics]:
    statistics = {
        "accuracy": tally(chosen_rewards > rejected_rewards, mask),
        "margin": tally(chosen_rewards - rejected_rewards, mask),
        "reward_chosen": tally(chosen_rewards, mask),
        "reward_rejected": tally(rejected_rewards, mask),
    }
    return aggregate(losses, mask, normalizer=normalizer), statistics


def _log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, in the form that is exact on each side of -log 2 (Mächler 2012)."""
    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    near = x > -math.log(2)
    # Each branch sees only what it can take: a gradient of the other one would be NaN.
    close = torch.log(-torch.expm1(torch.where(near, x, -1.0)))
    far = torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
    return torch.where(near, close, far)
