"""Losses of reward models: which of two completions is better, and which steps are right."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from jielong.feedback.objectives.masked import Statistics, aggregate, counted_rows, tally
from jielong.feedback.objectives.preference import smoothed_logistic


def bradley_terry_loss(
    chosen: Tensor,
    rejected: Tensor,
    *,
    margin: Tensor | float = 0.0,
    label_smoothing: float = 0.0,
    centring: float = 0.0,
    ties: Tensor | None = None,
    tie_margin: float = 0.0,
    mask: Tensor | None = None,
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """Negative log-likelihood of comparisons under Bradley-Terry, or Rao-Kupper where there are ties.

    With d = chosen - rejected: P(chosen wins) = sigmoid(d - eta), P(rejected wins) = sigmoid(-d - eta), and a
    tie is the rest, (e^(2 eta) - 1) sigmoid(d - eta) sigmoid(-d - eta) (Rao and Kupper 1967; for reward
    models Liu et al. 2024, arXiv 2410.05328). eta = 0 is Bradley and Terry 1952, which has no ties.

    Args:
        chosen: [P] scores of the preferred completions; of a tie, those of either.
        rejected: [P] scores of the others.
        margin: [P] or a number; by how much a win has to be a win (Llama 2, arXiv 2307.09288, equation 2).
        label_smoothing: probability that a label is wrong, below 0.5; ties have no direction to be wrong in.
        centring: weight of (chosen + rejected)^2, which keeps the scores around zero, where differences alone
            would let them drift (Eisenstein et al. 2023, arXiv 2312.09244).
        ties: [P] bool; True where neither is better. Needs a `tie_margin`.
        tie_margin: eta; differences below it look like ties.
        mask: [P] True = counts; None = all.
        normalizer: pairs of the whole optimizer step; None = of this batch.

    Raises:
        ValueError: there are `ties` and no positive `tie_margin`.
    """
    mask, (chosen, rejected) = counted_rows(mask, chosen, rejected)
    difference = chosen - rejected
    won = mask if ties is None else mask & ~ties
    losses = smoothed_logistic(difference - tie_margin - margin, label_smoothing)
    if ties is not None:
        losses = torch.where(ties, -log_tie_probability(difference, tie_margin), losses)
    if centring:
        losses = losses + centring * (chosen + rejected).square()
    statistics = {
        "accuracy": tally(difference > 0, won),
        "margin": tally(difference, won),
        "score_chosen": tally(chosen, won),
        "score_rejected": tally(rejected, won),
        "score": tally((chosen + rejected) / 2, mask),
        "predicted": tally(torch.sigmoid(difference), won),
    }
    return aggregate(losses, mask, normalizer=normalizer), statistics


def log_tie_probability(difference: Tensor, tie_margin: float) -> Tensor:
    """Log of Rao and Kupper's probability that two scores so far apart are judged a tie.

    Raises:
        ValueError: the margin is not positive, so that there can be no tie.
    """
    if tie_margin <= 0:
        raise ValueError("ties need a positive tie_margin")
    return (
        math.log(math.expm1(2 * tie_margin))
        + F.logsigmoid(difference - tie_margin)
        + F.logsigmoid(-difference - tie_margin)
    )


def step_reward_loss(
    logits: Tensor, labels: Tensor, step_ends: Tensor, *, normalizer: Tensor | float | None = None
) -> tuple[Tensor, Statistics]:
    """Cross-entropy of a process reward model: is the reasoning right up to the end of this step?

    Lightman et al. 2023 (arXiv 2305.20050); Wang et al. 2024 (Math-Shepherd, arXiv 2312.08935).

    Args:
        logits: [B, T] the head's output at each token.
        labels: [B, T] 1 for right and 0 for wrong, or a probability; read at step ends only.
        step_ends: [B, T] bool; True at the last token of each step.
        normalizer: steps of the whole optimizer step; None = of this batch.
    """
    # What stands between the steps is replaced first: the cross-entropy of a NaN has a NaN gradient.
    logits = torch.where(step_ends, logits, 0.0)
    labels = torch.where(step_ends, labels.to(logits.dtype), 0.0)
    losses = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    statistics = {
        "accuracy": tally((logits > 0) == (labels > 0.5), step_ends),
        "predicted": tally(torch.sigmoid(logits), step_ends),
        "right": tally(labels, step_ends),
    }
    return aggregate(losses, step_ends, normalizer=normalizer), statistics
