"""The policy with its critic, and the loss of both."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from jielong.feedback.answers import AnswerInputs, hidden_before, token_logprobs
from jielong.feedback.objectives.kl import kl_loss
from jielong.feedback.objectives.masked import Statistics, tally
from jielong.feedback.objectives.policy import clipped_policy_loss, entropy_bonus, value_loss
from jielong.feedback.settings import RlSettings
from jielong.models import ModelConfig, Transformer


class Actor(Transformer):
    """A language model that is trained as a policy; a critic may hang on it, as a network or as a head."""

    def __init__(self, config: ModelConfig, seed: int = 0) -> None:
        super().__init__(config, seed)
        self.critic: Transformer | None = None

    @classmethod
    def of(cls, model: Transformer, critic: str) -> "Actor":
        """Make a policy of a language model, whose weights it takes over.

        Args:
            model: it is used up.
            critic: none, separate (a copy of the network with a head that scores) or shared (such a head on
                the policy itself).
        """
        with torch.device("meta"):
            actor = cls(model.config)
        actor.to_empty(device="cpu")
        actor.load_state_dict(model.state_dict(), assign=True)
        if critic == "separate":
            actor.critic = Transformer(model.config)
            actor.critic.load_state_dict(model.state_dict())
            actor.critic.add_score()
        elif critic == "shared":
            actor.add_score(keep_head=True)
        return actor

    def language_model(self) -> Transformer:
        """The policy alone, without its critic."""
        with torch.device("meta"):
            model = Transformer(self.config)
        names = {name for name, _ in model.named_parameters()}
        weights = {name: weight for name, weight in self.state_dict().items() if name in names}
        model.to_empty(device="cpu")
        model.load_state_dict(weights, assign=True)
        return model.eval()


def save_policy(save: Any, actor: Actor, *rest: Any, **named: Any) -> None:
    """Save the language model of a policy."""
    save(actor.language_model(), *rest, **named)


def critic_values(actor: Actor, inputs: AnswerInputs) -> Tensor:
    """The critic's values [B, A] of the states before the answer tokens."""
    critic = actor.critic if actor.critic is not None else actor
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
    fields = len(AnswerInputs._fields)
    inputs = AnswerInputs(*given[:fields])
    old, reference, advantages, old_values, returns, weights, told, coefficient = given[fields:]
    hidden = hidden_before(actor, inputs)
    mask, how = inputs.mask, settings.aggregation
    logprobs, entropies = token_logprobs(
        hidden, actor.head, inputs.targets, mask, temperature=settings.temperature
    )
    # With one step a rollout the policy is the one that answered, and its probabilities are known here.
    old = old if settings.steps_per_rollout > 1 else logprobs.detach()
    loss, statistics = clipped_policy_loss(
        logprobs, old, advantages, mask, clip_low=settings.clip_low, clip_high=settings.clip_high,
        dual_clip=settings.dual_clip, level=settings.ratio, how=how, normalizer=1.0,
        weights=weights if settings.rolls_with_other_weights else None,
    )  # fmt: skip
    if settings.rolls_with_other_weights:
        statistics["rollout_weight"] = tally(weights, mask)
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
        if actor.critic is None:
            values = actor.scores(hidden)
        else:
            values = critic_values(actor, inputs)
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
