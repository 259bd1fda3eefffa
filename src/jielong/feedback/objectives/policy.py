"""Losses of reinforcement learning: the clipped surrogate, importance weights, the critic, the entropy."""

from typing import Literal

import torch
from torch import Tensor

from jielong.feedback.objectives.masked import (
    Aggregation,
    Statistics,
    aggregate,
    mean_by_row,
    sum_by_row,
    tally,
    zero_outside,
)

RatioLevel = Literal["token", "sequence", "geometric"]


def log_ratios(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, level: RatioLevel = "token") -> Tensor:
    """Log of the probability ratio that belongs to each token: [B, T], zero where the mask is False.

    Args:
        logprobs: [B, T] log-probabilities of the sampled tokens now.
        old_logprobs: [B, T] those under which they were sampled.
        mask: [B, T] True = counts.
        level: "token": of that token; "sequence": of the whole completion; "geometric": its geometric mean
            over tokens (GSPO, arXiv 2507.18071, equation 7). The last two are the same along a row.
    """
    ratios = zero_outside(logprobs - old_logprobs, mask)
    if level == "token":
        return ratios
    whole = sum_by_row(ratios, mask) if level == "sequence" else mean_by_row(ratios, mask)
    return zero_outside(whole.unsqueeze(-1).expand_as(ratios), mask)


def clipped_policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
    dual_clip: float | None = None,
    level: RatioLevel = "token",
    weights: Tensor | None = None,
    how: Aggregation = "token-mean",
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """The clipped surrogate of PPO, and with other arguments that of GRPO, DAPO and GSPO.

    Schulman et al. 2017 (arXiv 1707.06347), equation 7. A `clip_high` above `clip_low` is DAPO's clip-higher
    (arXiv 2503.14476, section 3.1); `dual_clip` bounds what a bad token that became likely can do (Ye et al.
    2020, arXiv 1912.09729); `level="geometric"` is GSPO (arXiv 2507.18071, equation 5).

    Args:
        logprobs: [B, T] log-probabilities of the sampled tokens now.
        old_logprobs: [B, T] those of the policy that the ratio is taken to; no gradient.
        advantages: [B, T] of tokens, or [B] of completions; no gradient.
        mask: [B, T] True = a token that the policy sampled.
        clip_low: the ratio's gain ends at 1 - clip_low where the advantage is negative,
        clip_high: and at 1 + clip_high where it is positive.
        dual_clip: largest ratio that counts where the advantage is negative, above 1 + clip_high; None = any.
        level: what the ratio is of; see `log_ratios`.
        weights: [B, T] factors, e.g. `importance_weights`; None = 1.
        how: how the tokens' losses become one; see `aggregate`.
        normalizer: units of the whole optimizer step; None = of this batch.

    Returns:
        Loss, and the statistics: ratio, clipped shares, and the k1 and k3 estimates of KL(old || now).
    """
    logs = log_ratios(logprobs, old_logprobs.detach(), mask, level)
    ratios = logs.exp()
    advantages = _by_token(advantages.detach(), mask)
    gains = torch.minimum(ratios * advantages, ratios.clamp(1 - clip_low, 1 + clip_high) * advantages)
    bad = advantages < 0
    if dual_clip is not None:
        gains = torch.where(bad, torch.maximum(gains, dual_clip * advantages), gains)
    losses = -gains if weights is None else -gains * zero_outside(weights.detach(), mask)
    statistics = {
        "ratio": tally(ratios, mask),
        "clipped_low": tally((ratios < 1 - clip_low) & bad, mask),
        "clipped_high": tally((ratios > 1 + clip_high) & (advantages > 0), mask),
        "kl_old_k1": tally(-logs, mask),
        "kl_old_k3": tally(torch.expm1(logs) - logs, mask),
    }
    if dual_clip is not None:
        statistics["clipped_dual"] = tally((ratios > dual_clip) & bad, mask)
    return aggregate(losses, mask, how, normalizer), statistics


def importance_weights(
    logprobs: Tensor,
    rollout_logprobs: Tensor,
    mask: Tensor,
    *,
    bounding: Literal["truncated", "masked"] = "truncated",
    highest: float = 2.0,
    lowest: float = 0.0,
    level: RatioLevel = "token",
) -> tuple[Tensor, Statistics]:
    """Weights that correct for an engine that samples from slightly other probabilities than are trained.

    A rollout in bfloat16 or int8, or on another engine, draws tokens with the probabilities q, while the loss
    takes them as drawn with p; p / q corrects it, and bounding it keeps the variance finite. "truncated" is
    TIS (Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy RL training"); "masked"
    drops what is outside of the bounds (MIS, IcePop: Ling team 2025, arXiv 2510.18855).

    Args:
        logprobs: [B, T] log-probabilities that the training forward pass gives the sampled tokens, before
            the first update.
        rollout_logprobs: [B, T] those under which the engine drew them.
        mask: [B, T] True = counts.
        bounding: what happens to a weight out of bounds: moved to the bound, or set to zero.
        highest: upper bound.
        lowest: lower bound.
        level: see `log_ratios`.

    Returns:
        Weights [B, T] without a gradient, zero where the mask is False; and the statistics.
    """
    ratios = log_ratios(logprobs.detach(), rollout_logprobs, mask, level).exp()
    outside = (ratios < lowest) | (ratios > highest)
    weights = ratios.clamp(lowest, highest) if bounding == "truncated" else ratios.masked_fill(outside, 0.0)
    statistics = {
        "rollout_ratio": tally(ratios, mask),
        "rollout_out_of_bounds": tally(outside, mask),
        "rollout_difference": tally((logprobs - rollout_logprobs).abs(), mask),
    }
    return zero_outside(weights, mask), statistics


def value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    clip: float | None = 0.2,
    how: Aggregation = "token-mean",
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """Half the squared error of a critic, which gains no more once it moved by `clip` from its old value.

    Schulman et al. 2016 (arXiv 1506.02438) for the target; the clipping is that of PPO's first code (Huang
    et al. 2022, "The 37 implementation details of PPO", number 9).

    Args:
        values: [B, T] the critic's values now.
        old_values: [B, T] those that the advantages were computed with.
        returns: [B, T] targets.
        mask: [B, T] True = counts.
        clip: None for a plain squared error.
        how: how the tokens' losses become one; see `aggregate`.
        normalizer: units of the whole optimizer step; None = of this batch.
    """
    # Zeros first: a square of NaN that is masked afterwards still has a NaN gradient.
    values, old_values, returns = (zero_outside(part, mask) for part in (values, old_values, returns))
    errors = (values - returns).square()
    clipped = torch.zeros_like(mask)
    if clip is not None:
        held = torch.clamp(values, old_values - clip, old_values + clip)
        held_errors = (held - returns).square()
        clipped = held_errors > errors
        errors = torch.maximum(errors, held_errors)
    statistics = {
        "value": tally(values, mask),
        "return": tally(returns, mask),
        "value_error": tally((values - returns).square(), mask),
        "value_loss": tally(errors / 2, mask),
        "value_clipped": tally(clipped, mask),
    }
    return aggregate(errors / 2, mask, how, normalizer), statistics


def entropy_bonus(
    entropies: Tensor,
    mask: Tensor,
    *,
    coefficient: float,
    how: Aggregation = "token-mean",
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """Minus the entropy, times a coefficient: a loss that keeps the policy's die from becoming a certainty.

    Args:
        entropies: [B, T] of the policy's distribution over the vocabulary, in nats.
        mask: [B, T] True = counts.
        coefficient: weight beside the policy's loss.
        how: how the tokens' losses become one; see `aggregate`.
        normalizer: units of the whole optimizer step; None = of this batch.
    """
    loss = -coefficient * aggregate(entropies, mask, how, normalizer)
    return loss, {"entropy": tally(entropies, mask)}


def _by_token(advantages: Tensor, mask: Tensor) -> Tensor:
    """Advantages [B] or [B, T] as [B, T], zero where the mask is False."""
    if advantages.dim() == 1:
        advantages = advantages.unsqueeze(-1)
    return zero_outside(advantages.expand(mask.shape), mask)
