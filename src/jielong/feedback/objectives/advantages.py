"""Advantages: how much better than expected each token, or each completion of a prompt, turned out."""

from typing import Literal

import torch
from torch import Tensor

from jielong.feedback.objectives.masked import wide, zero_outside


def generalized_advantages(
    rewards: Tensor,
    values: Tensor,
    mask: Tensor,
    *,
    gamma: float = 1.0,
    lam: float = 0.95,
    bootstrap: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation over the counted tokens of each row.

    Schulman et al. 2016 (arXiv 1506.02438), equation 16. Tokens that are not counted, such as padding on
    either side or a tool's answer in the middle, take no time: the state after a counted token is the one
    before the next counted token.

    Args:
        rewards: [B, T] of tokens.
        values: [B, T] the critic's value of the state *before* each token.
        mask: [B, T] True = a token that the policy sampled.
        gamma: discount a token.
        lam: 0 trusts the critic alone, 1 the rewards alone.
        bootstrap: [B] value of the state after the last counted token: 0 where the text ended, the critic's
            value where it was only cut off. None = all ended.

    Returns:
        Advantages and returns (targets of the critic), both [B, T] and zero where the mask is False.
    """
    rewards, values = rewards.detach(), values.detach()
    advantages = torch.zeros_like(values)
    following = torch.zeros_like(values[:, 0]) if bootstrap is None else bootstrap.to(values.dtype)
    running = torch.zeros_like(following)
    for step in reversed(range(values.shape[1])):
        counted, value = mask[:, step], values[:, step]
        surprise = rewards[:, step] + gamma * following - value
        running = torch.where(counted, surprise + gamma * lam * running, running)
        following = torch.where(counted, value, following)
        advantages[:, step] = running
    return zero_outside(advantages, mask), zero_outside(advantages + values, mask)


def discounted_returns(rewards: Tensor, mask: Tensor, *, gamma: float = 1.0) -> Tensor:
    """Sum of the rewards from each counted token on, discounted by gamma a token: [B, T]."""
    returns, _ = generalized_advantages(rewards, torch.zeros_like(rewards), mask, gamma=gamma, lam=1.0)
    return returns


def moments(values: Tensor, mask: Tensor) -> Tensor:
    """Count, sum and sum of squares of the counted values: [3], to be added over processes."""
    counted = zero_outside(wide(values.detach()), mask)
    return torch.stack([mask.sum().to(counted.dtype), counted.sum(), counted.square().sum()])


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True, whole: Tensor | None = None) -> Tensor:
    """Scale values to variance one, and shift their mean to zero.

    Args:
        values: [B, T] or [B].
        mask: of the same shape; True = counts.
        shift_mean: False leaves the mean where it is, as for rewards, whose sign has a meaning (Huang et al.
            2024, arXiv 2403.17031).
        whole: `moments` of the batch that all processes have together; None = of these values.

    Returns:
        Whitened values, zero where the mask is False. With less than two values there is nothing to scale by,
        and the variance is taken as zero.
    """
    count, total, squares = (moments(values, mask) if whole is None else whole).unbind()
    mean = total / count.clamp(min=1)
    # Of the sample: n - 1, as everywhere in this field.
    variance = ((squares - count * mean.square()) / (count - 1).clamp(min=1)).clamp(min=0)
    white = (values - mean) * torch.rsqrt(variance + 1e-8)
    return zero_outside((white if shift_mean else white + mean).to(values.dtype), mask)


def reinforce_plus_plus_advantages(
    rewards: Tensor, mask: Tensor, *, gamma: float = 1.0, whole: Tensor | None = None
) -> Tensor:
    """REINFORCE++: discounted returns with the KL in the reward, normalised over the whole batch.

    Hu et al. 2025 (arXiv 2501.03262).

    Args:
        rewards: [B, T] of tokens, `kl_rewards`.
        mask: [B, T] True = counts.
        gamma: discount a token.
        whole: `moments` of the `discounted_returns` of all processes; None = of this batch.
    """
    return whiten(discounted_returns(rewards, mask, gamma=gamma), mask, whole=whole)


def group_advantages(
    rewards: Tensor,
    groups: Tensor,
    *,
    scale: Literal["group", "batch", "none"] = "group",
    epsilon: float = 1e-4,
) -> Tensor:
    """GRPO: how much better a completion is than the mean of those of the same prompt.

    Shao et al. 2024 (arXiv 2402.03300), section 4.1.2: divided by the group's standard deviation. "none" is
    Dr. GRPO (Liu et al. 2025, arXiv 2503.20783), for the division favours prompts that are nearly solved or
    nearly hopeless; "batch" divides by that of all rewards (REINFORCE++-baseline, arXiv 2501.03262).

    Args:
        rewards: [B] of completions.
        groups: [B] whole numbers; completions of one prompt have the same one, in any order.
        scale: the standard deviation to divide by.
        epsilon: added to it.

    Returns:
        Advantages [B]; zero in a group of one.
    """
    index, sizes = _grouped(groups)
    centred = rewards - _sums(rewards, index, sizes)[index] / sizes[index]
    if scale == "none":
        return centred
    if scale == "batch":
        deviation = rewards.std() if len(rewards) > 1 else torch.zeros_like(rewards).sum()
        return centred / (deviation + epsilon)
    variance = _sums(centred.square(), index, sizes) / (sizes - 1).clamp(min=1)
    return centred / (variance.sqrt()[index] + epsilon)


def leave_one_out_advantages(rewards: Tensor, groups: Tensor) -> Tensor:
    """RLOO: the reward minus the mean reward of the *other* completions of the same prompt.

    Ahmadian et al. 2024 (arXiv 2402.14740).

    Args:
        rewards: [B] of completions.
        groups: [B] whole numbers; completions of one prompt have the same one.

    Returns:
        Advantages [B]; zero in a group of one, which has nothing to be compared with.
    """
    index, sizes = _grouped(groups)
    others = (_sums(rewards, index, sizes)[index] - rewards) / (sizes[index] - 1).clamp(min=1)
    return torch.where(sizes[index] > 1, rewards - others, torch.zeros_like(rewards))


def groups_with_spread(rewards: Tensor, groups: Tensor) -> Tensor:
    """True for completions of prompts whose completions did not all earn the same: [B] bool.

    The others teach nothing, as their advantages are zero; DAPO draws prompts until a batch is full of the
    former (arXiv 2503.14476, section 3.2, dynamic sampling).
    """
    index, sizes = _grouped(groups)
    highest, lowest = (
        torch.zeros_like(sizes, dtype=rewards.dtype).scatter_reduce(
            0, index, rewards, reduction, include_self=False
        )
        for reduction in ("amax", "amin")
    )
    return (highest > lowest)[index]


def overlong_punishment(lengths: Tensor, longest: int, buffer: int) -> Tensor:
    """DAPO's soft punishment: 0 up to `longest - buffer` tokens, falling to -1 at `longest`, -1 beyond: [B].

    Yu et al. 2025 (arXiv 2503.14476), equation 13.

    Args:
        lengths: [B] tokens of completions.
        longest: tokens from which on the whole punishment is due.
        buffer: over how many tokens it sets in; 0 punishes only what is longer than `longest`.
    """
    if buffer == 0:
        return -(lengths > longest).to(torch.float32)
    return ((longest - buffer - lengths) / buffer).clamp(-1.0, 0.0)


def _grouped(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Number of each row's group from 0, and the groups' sizes."""
    _, index, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    return index, sizes


def _sums(values: Tensor, index: Tensor, sizes: Tensor) -> Tensor:
    """Sum of each group's values."""
    return torch.zeros_like(sizes, dtype=values.dtype).index_add(0, index, values)
