"""Batches of reinforcement learning: a rollout, its scores, its advantages, cut into micro-batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from jielong.feedback.answers import answer_logprobs, pack_answers
from jielong.feedback.objectives.advantages import (
    discounted_returns,
    generalized_advantages,
    group_advantages,
    leave_one_out_advantages,
    moments,
    overlong_punishment,
    reinforce_plus_plus_advantages,
    whiten,
)
from jielong.feedback.objectives.kl import KlController, kl_rewards
from jielong.feedback.objectives.masked import count_units
from jielong.feedback.policy import Actor, Reference, critic_values
from jielong.feedback.prompts import Prompt
from jielong.feedback.rewards import Answer, Rewards
from jielong.feedback.rollouts import RolledBatches, RolloutBackend
from jielong.feedback.settings import RlSettings
from jielong.training.batches import Batch
from jielong.training.distributed import rank, sum_of_all, world_size
from jielong.training.precision import computing_in

_MOST_REFILLS = 4  # of a rollout, where dynamic sampling drops groups that teach nothing


@dataclass
class Rollout:
    """The answers of this process, [L, A] padded behind."""

    answers: list[Answer]
    scores: Tensor
    """[L] what the answers earned."""
    parts: Tensor
    """[L, number of rewards] of it."""
    mask: Tensor
    """[L, A] True = an answer token."""
    old: Tensor
    """[L, A] log-probabilities under the policy before the first update; zeros where they are not needed."""
    reference: Tensor
    """[L, A] under the reference; zeros where it is not needed."""
    advantages: Tensor
    """[L, A]."""
    values: Tensor
    """[L, A] of the critic; zeros without one."""
    returns: Tensor
    """[L, A] the critic's targets."""
    rolled: Tensor
    """[L, A] log-probabilities that others than the trained weights rolled with; zeros without such."""


class RolloutBatches(RolledBatches):
    """Draws micro-batches of answers that the policy gives with its weights of that moment.

    A rollout belongs to `period` steps, between which the run stops and resumes: what a rollout consists of
    follows from the weights, the seed and its number, so it needs no place in a checkpoint.

    Args:
        settings: the recipe.
        model: the policy, perhaps with a critic.
        reference: the network that the policy may not leave too far; None where nothing is asked of it.
        prompts: to draw from.
        rewards: what answers earn.
        backend: who answers.
        pad: the token that fills rows up.
        dtype: of the computation.
    """

    def __init__(
        self,
        settings: RlSettings,
        model: Actor,
        reference: Reference | None,
        prompts: Sequence[Prompt],
        rewards: Rewards,
        backend: RolloutBackend,
        pad: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(settings, prompts, backend)
        self.settings = settings
        self.model = model
        self.reference = reference
        self.rewards = rewards
        self.pad = pad
        self.dtype = dtype
        self.exhausted = False
        kl = settings.kl
        self.controller = KlController(kl.coefficient, kl.target, kl.horizon)
        self.coefficient = torch.tensor(kl.coefficient)
        """Of the divergence; the objective reads it, so it must stay the same object."""
        self._number = -1
        self._rollout: Rollout

    @property
    def _steers(self) -> bool:
        """Whether the divergence of whole answers has to be known."""
        kl = self.settings.kl
        paid = kl.place == "reward" and kl.coefficient > 0
        return self.reference is not None and (paid or kl.target is not None or kl.stop_at is not None)

    def state(self) -> dict[str, Tensor]:
        """The controllers."""
        return {
            "kl_coefficient": self.coefficient.clone(),
            "multiplier": torch.tensor(self.rewards.multiplier),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        if state:
            self.controller = self.controller.restored({"coefficient": float(state["kl_coefficient"])})
            self.coefficient.copy_(state["kl_coefficient"])
            self.rewards.multiplier = float(state["multiplier"])

    def draw(
        self, number: int, device: torch.device, share: slice = slice(None)
    ) -> Batch[tuple[Tensor, ...]]:
        """This process's answers of a micro-batch; of the first one of a rollout, after rolling it out."""
        rollout_number, within = divmod(number, self._micro_batches)
        if rollout_number != self._number:
            self._rollout = self._roll_out(rollout_number, device)
            self._number = rollout_number
        rollout = self._rollout
        epoch, place = divmod(within, self._micro_batches // self.settings.epochs)
        count = len(range(*share.indices(self.settings.training.batch_rows)))
        order = self._order(rollout_number, epoch, len(rollout.answers))
        chosen = order[place * count : (place + 1) * count]
        return self._batch(rollout, chosen, device)

    def _order(self, rollout: int, epoch: int, count: int) -> np.ndarray:
        """Of a rollout's answers: as they are in the first pass, mixed in later ones."""
        if epoch == 0:
            return np.arange(count)
        return np.random.default_rng([self.settings.seed, rollout, epoch]).permutation(count)

    def _batch(self, rollout: Rollout, chosen: np.ndarray, device: torch.device) -> Batch[tuple[Tensor, ...]]:
        answers = [rollout.answers[place] for place in chosen.tolist()]
        inputs = pack_answers([answer.token_row for answer in answers], self.pad, device)
        at, width = torch.from_numpy(chosen).to(device), inputs.mask.shape[1]
        by_token = [
            part[at, :width]
            for part in (
                rollout.old, rollout.reference, rollout.advantages, rollout.values, rollout.returns,
                rollout.rolled,
            )
        ]  # fmt: skip
        units = count_units(inputs.mask, self.settings.aggregation, self.settings.max_tokens)
        told = torch.cat([rollout.scores[at, None], rollout.parts[at]], 1)
        return Batch(
            (*inputs, *by_token, told, self.coefficient.to(device)),
            float(units),
            int((inputs.segments > 0).sum()),
        )

    # --- a rollout

    def _roll_out(self, number: int, device: torch.device) -> Rollout:
        answers, scores, parts, groups = self._answers(number)
        own = slice(rank(), None, world_size())
        mask = _mask([answer.ids for answer in answers], device)
        old, reference, values = self._measure(answers, mask)
        kept = torch.from_numpy(scores).to(device, torch.float32)
        earned = kept[own]
        advantages, returns = self._advantages(earned, kept, groups, own, old, reference, values, mask)
        rolled = _padded([answer.rolled or [] for answer in answers], mask)
        self._control(old, reference, mask, parts)
        return Rollout(
            answers, earned, torch.from_numpy(parts[own]).to(device, torch.float32), mask, old, reference,
            advantages, values, returns, rolled,
        )  # fmt: skip

    def _answers(self, number: int) -> tuple[list[Answer], np.ndarray, np.ndarray, Tensor]:
        """This process's answers; of all processes': scores [B], their parts and prompts' numbers [B].

        With dynamic sampling, prompts whose answers all earned the same make room for further prompts.
        """
        settings = self.settings
        wanted, samples = settings.prompts_per_rollout, settings.samples
        kept: list[tuple[list[Answer], np.ndarray, np.ndarray]] = []
        spare: list[tuple[list[Answer], np.ndarray, np.ndarray]] = []
        refills = _MOST_REFILLS if settings.dynamic_sampling else 1
        for refill in range(refills):
            answers, scores, parts = self._answer(refills * number + refill)
            for group in range(wanted):
                rows = slice(group * samples, (group + 1) * samples)
                mine = [a for place, a in answers if rows.start <= place < rows.stop]
                useful = not settings.dynamic_sampling or np.ptp(scores[rows]) > 0
                (kept if useful else spare).append((mine, scores[rows], parts[rows]))
            if len(kept) >= wanted:
                break
        chosen = [*kept, *spare][:wanted]
        groups = torch.arange(wanted).repeat_interleave(samples)
        return (
            [answer for mine, _, _ in chosen for answer in mine],
            np.concatenate([scores for _, scores, _ in chosen]),
            np.concatenate([parts for _, _, parts in chosen]),
            groups,
        )

    def _answer(self, number: int) -> tuple[list[tuple[int, Answer]], np.ndarray, np.ndarray]:
        """Answers of this process with their places; scores and parts of all processes' answers."""
        own, answers = self.answers_of(self.model.policy, number)
        found, parts_found = self.rewards(answers)
        found = found + self._punishments(answers)
        columns = parts_found.shape[1]
        table = np.zeros((self.settings.answers_per_rollout, 1 + columns))
        table[list(own), 0], table[list(own), 1:] = found, parts_found
        table = np.array(sum_of_all(*table.ravel().tolist())).reshape(table.shape)
        return list(zip(own, answers, strict=True)), table[:, 0], table[:, 1:]

    def _punishments(self, answers: Sequence[Answer]) -> np.ndarray:
        """For answers that were cut off, or came near to it."""
        settings = self.settings
        cut_off = np.array([not answer.finished for answer in answers])
        punishment = -settings.no_end_penalty * cut_off
        if settings.overlong_buffer:
            lengths = torch.tensor([len(answer.ids) for answer in answers])
            punishment = (
                punishment
                + overlong_punishment(lengths, settings.max_tokens, settings.overlong_buffer).numpy()
            )
        return np.asarray(punishment, float)

    def _measure(self, answers: Sequence[Answer], mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities under policy and reference, and the critic's values, where something needs them.

        In the very micro-batches of the first pass, where the ratio of probabilities is then exactly one.
        """
        settings = self.settings
        need_old = self._steers or self.period > 1
        old, reference, values = (torch.zeros(mask.shape, device=mask.device) for _ in range(3))
        count = max(1, settings.training.batch_rows // world_size())
        for start in range(0, len(answers), count):
            rows = slice(start, start + count)
            inputs = pack_answers([answer.token_row for answer in answers[rows]], self.pad, mask.device)
            width = inputs.mask.shape[1]
            autocast = computing_in(self.dtype, mask.device)
            if need_old:
                # Where ratios are taken to them, not under no_grad: it takes kernels that round otherwise.
                with torch.set_grad_enabled(self.period > 1), autocast:
                    logprobs, _ = answer_logprobs(self.model.policy, inputs, settings.temperature)
                old[rows, :width] = logprobs.detach()
            with torch.no_grad(), autocast:
                if self.reference is not None:
                    with self.reference.network() as network:
                        logprobs, _ = answer_logprobs(network, inputs, settings.temperature)
                    reference[rows, :width] = logprobs
                if settings.critic != "none":
                    values[rows, :width] = critic_values(self.model, inputs)
        return old, reference, values

    def _advantages(
        self,
        own_scores: Tensor,
        scores: Tensor,
        groups: Tensor,
        own: slice,
        old: Tensor,
        reference: Tensor,
        values: Tensor,
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Advantages and the critic's targets, [L, A] each."""
        settings = self.settings
        coefficient = float(self.coefficient) if settings.kl.place == "reward" else 0.0
        if settings.advantage in ("gae", "reinforce++"):
            rewards, _ = kl_rewards(
                own_scores, old, reference, mask, coefficient=coefficient, estimator=settings.kl.estimator
            )
            if settings.advantage == "reinforce++":
                returns = discounted_returns(rewards, mask, gamma=settings.gamma)
                whole = _together(moments(returns, mask))
                return reinforce_plus_plus_advantages(
                    rewards, mask, gamma=settings.gamma, whole=whole
                ), returns
            advantages, returns = generalized_advantages(
                rewards, values, mask, gamma=settings.gamma, lam=settings.lam
            )
            if settings.whiten:
                advantages = whiten(advantages, mask, whole=_together(moments(advantages, mask)))
            return advantages, returns
        if coefficient:  # an answer pays for its divergence as a whole
            paid = torch.zeros_like(scores)
            paid[own] = coefficient * ((old - reference) * mask).sum(1)
            scores = scores - _together(paid)
        groups = groups.to(scores.device)
        if settings.advantage == "group":
            by_answer = group_advantages(scores, groups, scale=settings.scale)
        else:
            by_answer = leave_one_out_advantages(scores, groups)
        return by_answer[own, None] * mask, torch.zeros_like(old)

    def _control(self, old: Tensor, reference: Tensor, mask: Tensor, parts: np.ndarray) -> None:
        """Let the controllers see what came out."""
        self.rewards.learn(self.rewards.missing_safety(parts))
        if not self._steers:
            return
        nats, count = sum_of_all(float(((old - reference) * mask).sum()), len(mask))
        divergence = nats / count
        self.controller = self.controller.after(divergence, int(count))
        self.coefficient.fill_(self.controller.coefficient)
        stop_at = self.settings.kl.stop_at
        self.exhausted = stop_at is not None and divergence > stop_at


def _together(values: Tensor) -> Tensor:
    """Element by element, the sum over all processes."""
    if world_size() == 1:
        return values
    return torch.tensor(
        sum_of_all(*values.flatten().tolist()), dtype=values.dtype, device=values.device
    ).view_as(values)


def _mask(ids: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    lengths = torch.tensor([len(tokens) for tokens in ids], device=device)
    return torch.arange(int(lengths.max()), device=device) < lengths[:, None]


def _padded(rows: Sequence[Sequence[float]], mask: Tensor) -> Tensor:
    padded = torch.zeros(mask.shape)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = torch.tensor(row)
    return padded.to(mask.device)
