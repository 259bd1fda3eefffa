"""The policy with its critic, and the loss of both."""

import contextlib
import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from jielong.core.recipe import Settings
from jielong.feedback.answers import AnswerInputs, hidden_before, split_inputs
from jielong.feedback.objectives.distillation import token_logprobs
from jielong.feedback.objectives.kl import kl_loss
from jielong.feedback.objectives.masked import Statistics, tally
from jielong.feedback.objectives.policy import (
    clipped_policy_loss,
    entropy_bonus,
    importance_weights,
    value_loss,
)
from jielong.feedback.settings import RlSettings
from jielong.models import ModelConfig, Transformer
from jielong.models.adapters import disable_adapter, merge_and_unload


class Actor(nn.Module):
    """A policy and its critic: a network of its own, a head that scores on the policy, or none.

    Args:
        policy: the language model.
        critic: none, separate (a copy of the policy with a head that scores) or shared.
    """

    def __init__(self, policy: Transformer, critic: str) -> None:
        super().__init__()
        self.policy = policy
        self.critic: Transformer | None = None
        if critic == "separate":
            self.critic = merge_and_unload(copy.deepcopy(policy))
            self.critic.requires_grad_(True)
            self.critic.add_score()
        elif critic == "shared":
            policy.add_score(keep_head=True)

    @property
    def config(self) -> ModelConfig:
        """The policy's shape."""
        return self.policy.config

    @property
    def adapter(self) -> Settings | None:
        """Of the policy."""
        return self.policy.adapter

    @property
    def recompute(self) -> bool:
        """Whether the networks keep only what goes from block to block."""
        return self.policy.recompute

    @recompute.setter
    def recompute(self, wanted: bool) -> None:
        for network in (self.policy, self.critic):
            if network is not None:
                network.recompute = wanted

    def language_model(self) -> Transformer:
        """The policy without what it was trained by; the actor is used up."""
        self.policy.score = None
        return self.policy


@dataclass(frozen=True)
class Reference:
    """The network that a policy is held near: a frozen copy of it, or, under an adapter, its own base."""

    model: Transformer

    @classmethod
    def of(cls, policy: Transformer) -> Self:
        """The policy as it is now."""
        if policy.adapter is not None:
            return cls(policy)
        return cls(copy.deepcopy(policy).eval().requires_grad_(False))

    @contextlib.contextmanager
    def network(self) -> Iterator[Transformer]:
        """While active, the network to compute with."""
        with disable_adapter(self.model):
            yield self.model


def critic_values(actor: Actor, inputs: AnswerInputs) -> Tensor:
    """The critic's values [B, A] of the states before the answer tokens."""
    critic = actor.critic if actor.critic is not None else actor.policy
    return critic.scores(hidden_before(critic, inputs))


def policy_objective(
    settings: RlSettings, names: Sequence[str], actor: Actor, *given: Tensor
) -> tuple[Tensor, Statistics]:
    """Sum of the losses of policy, critic, divergence and entropy over a micro-batch.

    Args:
        settings: the recipe.
        names: of the parts of the reward, for the statistics.
        actor: the policy.
        given: what `RolloutBatches` draws.
    """
    inputs, known = split_inputs(given)
    old, reference, advantages, old_values, returns, rolled, told, coefficient = known
    hidden = hidden_before(actor.policy, inputs)
    mask, how = inputs.mask, settings.aggregation
    logprobs, entropies = token_logprobs(
        hidden, actor.policy.head, inputs.targets, mask, temperature=settings.temperature
    )
    # With one step a rollout the policy is the one that answered, and its probabilities are known here.
    old = old if settings.steps_per_rollout > 1 else logprobs.detach()
    weights: Tensor | None = None
    corrections: Statistics = {}
    if settings.rolls_with_other_weights:
        weights, corrections = importance_weights(old, rolled, mask)
        corrections["rollout_weight"] = tally(weights, mask)
    loss, statistics = clipped_policy_loss(
        logprobs, old, advantages, mask, clip_low=settings.clip_low, clip_high=settings.clip_high,
        dual_clip=settings.dual_clip, level=settings.ratio, how=how, normalizer=1.0,
        weights=weights,
    )  # fmt: skip
    statistics |= corrections
    if settings.kl.place == "loss" and settings.kl.coefficient:
        penalty, found = kl_loss(
            logprobs,
            reference,
            mask,
            coefficient=1.0,
            estimator=settings.kl.estimator,
            how=how,
            normalizer=1.0,
        )
        loss, statistics = loss + coefficient * penalty, statistics | found
    elif settings.kl.coefficient:
        statistics["kl"] = tally(old - reference, mask)
    if settings.critic != "none":
        values = actor.policy.scores(hidden) if actor.critic is None else critic_values(actor, inputs)
        error, found = value_loss(
            values, old_values, returns, mask, clip=settings.value_clip, how=how, normalizer=1.0
        )
        loss, statistics = loss + settings.value_weight * error, statistics | found
    bonus, found = entropy_bonus(entropies, mask, coefficient=settings.entropy, how=how, normalizer=1.0)
    statistics |= found
    if settings.entropy:
        loss = loss + bonus
    rows = torch.ones(len(told), dtype=torch.bool, device=told.device)
    statistics["score"] = tally(told[:, 0], rows)
    statistics["length"] = tally(mask.sum(1), rows)
    statistics |= {f"reward_{name}": tally(told[:, 1 + n], rows) for n, name in enumerate(names)}
    return loss, statistics
