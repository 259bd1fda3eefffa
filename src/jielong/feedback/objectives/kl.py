"""The divergence from a reference model: its estimators, in a reward or a loss, and what sets its weight."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor

from jielong.feedback.objectives.masked import Aggregation, Statistics, aggregate, tally, zero_outside

KlEstimator = Literal["k1", "k2", "k3"]


def kl_estimates(logprobs: Tensor, ref_logprobs: Tensor, estimator: KlEstimator) -> Tensor:
    """Estimates of KL(policy || reference) from single tokens that the policy sampled.

    Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html). k1 has no bias and much
    variance; k2 = k1^2 / 2 has a small bias; k3 has neither bias nor much variance, and is never negative.
    As a *loss* they differ (Tang and Munos 2025, arXiv 2506.09477): on tokens that the policy just sampled,
    k2's gradient is that of the divergence, k1's is zero on average, and k3's that of the other direction,
    KL(reference || policy).

    Args:
        logprobs: [...] log-probabilities of the sampled tokens under the policy.
        ref_logprobs: [...] under the reference.
        estimator: which.
    """
    difference = logprobs - ref_logprobs
    if estimator == "k1":
        return difference
    if estimator == "k2":
        return difference.square() / 2
    return torch.expm1(-difference) + difference


def kl_loss(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    mask: Tensor,
    *,
    coefficient: float,
    estimator: KlEstimator = "k3",
    weights: Tensor | None = None,
    how: Aggregation = "token-mean",
    normalizer: Tensor | float | None = None,
) -> tuple[Tensor, Statistics]:
    """The divergence from the reference as a loss (GRPO, arXiv 2402.03300, equations 3 and 4).

    Args:
        logprobs: [B, T] log-probabilities of the sampled tokens under the policy.
        ref_logprobs: [B, T] under the reference; no gradient.
        mask: [B, T] True = counts.
        coefficient: beta.
        estimator: see `kl_estimates`.
        weights: [B, T] factors: the probability ratio to the policy that sampled makes the estimate unbiased
            after updates (DeepSeek-V3.2, arXiv 2512.02556). Gradients pass through them. None = 1.
        how: how the tokens' losses become one; see `aggregate`.
        normalizer: units of the whole optimizer step; None = of this batch.
    """
    policy, reference = zero_outside(logprobs, mask), zero_outside(ref_logprobs.detach(), mask)
    estimates = kl_estimates(policy, reference, estimator)
    losses = estimates if weights is None else estimates * zero_outside(weights, mask)
    return coefficient * aggregate(losses, mask, how, normalizer), {"kl": tally(estimates, mask)}


def kl_rewards(
    scores: Tensor,
    logprobs: Tensor,
    ref_logprobs: Tensor,
    mask: Tensor,
    *,
    coefficient: float,
    estimator: KlEstimator = "k1",
) -> tuple[Tensor, Statistics]:
    """Rewards of tokens: each pays for its divergence, and the last one earns the score.

    Ziegler et al. 2019 (arXiv 1909.08593), equation 2; Ouyang et al. 2022 (arXiv 2203.02155), section 3.5.

    Args:
        scores: [B] of whole completions.
        logprobs: [B, T] log-probabilities of the sampled tokens under the policy that sampled them.
        ref_logprobs: [B, T] under the reference.
        mask: [B, T] True = counts; a row without any earns nothing.
        coefficient: beta.
        estimator: see `kl_estimates`; k1 is the one whose expectation is right in a reward.

    Returns:
        Rewards [B, T] without a gradient, zero where the mask is False; and the statistics: the divergence of
        a token, and of a whole completion (what a controller is told).
    """
    policy, reference = (zero_outside(part.detach(), mask) for part in (logprobs, ref_logprobs))
    estimates = kl_estimates(policy, reference, estimator)
    rewards = -coefficient * estimates + torch.where(last_counted(mask), scores.unsqueeze(-1), 0.0)
    rows = mask.any(-1)
    statistics = {
        "kl": tally(estimates, mask),
        "kl_sequence": tally((policy - reference).sum(-1), rows),
        "score": tally(scores, rows),
    }
    return zero_outside(rewards, mask), statistics


def last_counted(mask: Tensor) -> Tensor:
    """True at the last True of each row: [B, T] -> [B, T]."""
    after = mask.flip(-1).cumsum(-1).flip(-1)  # how many are counted from here on
    return mask & (after == 1)


@dataclass(frozen=True)
class KlController:
    """Sets the weight of the divergence; with a target it steers towards it, without one it stays.

    Ziegler et al. 2019 (arXiv 1909.08593), section 2.2, in the form of their code, where the change of one
    update is proportional to the number of completions in it.
    """

    coefficient: float
    """beta, the weight now."""
    target: float | None = None
    """Wanted divergence of a completion, in nats; None keeps the coefficient fixed."""
    horizon: float = 10_000
    """Completions after which a steady error of 20 percent has changed the weight by about 20 percent."""

    def after(self, kl: float, completions: int) -> Self:
        """The controller after an update in which so many completions diverged by `kl` nats on average."""
        if self.target is None:
            return self
        error = min(max(kl / self.target - 1, -0.2), 0.2)
        return replace(self, coefficient=self.coefficient * (1 + error * completions / self.horizon))

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep."""
        return {"coefficient": self.coefficient}

    def restored(self, state: dict[str, Any]) -> Self:
        """The controller with the state of a checkpoint; target and horizon are the recipe's."""
        return replace(self, coefficient=float(state["coefficient"]))
