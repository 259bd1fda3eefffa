"""What an answer earns: reward models, the world's hidden judge, and rules, put together to one number."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from jielong.core.errors import JielongError, UsageError
from jielong.feedback.prompts import Prompt
from jielong.feedback.reward_model import RewardModel
from jielong.feedback.settings import RewardSource
from jielong.feedback.token_rows import TokenRow
from jielong.marking import Check, check_answer
from jielong.tokenizer import language_of


@dataclass(frozen=True, slots=True)
class Answer:
    """What the policy said."""

    prompt: Prompt
    ids: list[int]
    """Its tokens, the end token included where it came."""
    text: str
    finished: bool
    """Whether it ended by itself."""
    rolled: list[float] | None = None
    """Log-probabilities that the tokens were rolled with, where they are needed."""

    @property
    def token_row(self) -> TokenRow:
        """Prompt and answer."""
        before = self.prompt.ids
        return TokenRow([*before, *self.ids], [*[False] * len(before), *[True] * len(self.ids)])


Reward = Callable[[Sequence[Answer]], list[float]]
"""Scores of answers, in their order."""


def build_reward(source: RewardSource) -> Reward:
    """The function that a recipe's entry stands for.

    Raises:
        UsageError: the entry lacks what its kind needs.
        JielongError: the reward model cannot be loaded.
    """
    if source.kind == "model":
        if source.model is None:
            raise UsageError("a reward of kind model needs `model`, the folder of a reward model")
        return partial(_by_model, RewardModel.load(source.model))
    if source.kind == "judge":
        return partial(_by_judge, source.side)
    if source.kind == "format":
        try:
            return partial(_by_format, re.compile(source.pattern))
        except re.error as error:
            raise UsageError(f"rewards: {source.pattern!r} is not a regular expression: {error}") from None
    if source.kind == "length":
        return partial(_by_length, source.characters)
    return {"check": _by_check, "language": _by_language}[source.kind]


def _by_model(model: RewardModel, answers: Sequence[Answer]) -> list[float]:
    return model.score(
        [[*answer.prompt.messages, {"role": "assistant", "content": answer.text}] for answer in answers]
    )


def _by_judge(side: str, answers: Sequence[Answer]) -> list[float]:
    from jielong.world.judge import Rubric, judge

    if not all("rubric" in answer.prompt.row for answer in answers):
        raise JielongError(
            "a reward of kind judge needs prompts of the built-in world, which carry a `rubric`"
        )
    verdicts = [judge(Rubric.from_row(dict(answer.prompt.row)), answer.text) for answer in answers]
    sides = {
        "helpful": lambda verdict: verdict.helpful,
        "safe": lambda verdict: verdict.safe,
        "both": lambda verdict: verdict.helpful * verdict.safe,
    }
    return [float(sides[side](verdict)) for verdict in verdicts]


def _by_check(answers: Sequence[Answer]) -> list[float]:
    """1 where an exam's check finds the answer right."""
    return [float(check_answer(_check(answer.prompt.row), answer.text).right) for answer in answers]


def _check(row: Mapping[str, Any]) -> Check:
    stated = row.get("check") or (row.get("rubric") or {}).get("check")
    if isinstance(stated, dict):
        return Check.parse(stated)
    if "answer" in row:
        return Check(kind="contains", answers=(str(row["answer"]),))
    raise JielongError("a reward of kind check needs a `check` or an `answer` in every row of the prompts")


def _by_format(pattern: re.Pattern[str], answers: Sequence[Answer]) -> list[float]:
    return [float(pattern.search(answer.text) is not None) for answer in answers]


def _by_length(characters: int, answers: Sequence[Answer]) -> list[float]:
    """1 up to so many characters, then falling to 0 at twice as many."""
    limit = max(characters, 1)
    return [min(1.0, max(0.0, 2 - len(answer.text) / limit)) for answer in answers]


def _by_language(answers: Sequence[Answer]) -> list[float]:
    """1 where the answer is in the question's language."""
    return [float(language_of(answer.text) == language_of(answer.prompt.text)) for answer in answers]


class Rewarding(Protocol):
    """What a recipe with rewards says about them."""

    @property
    def rewards(self) -> Sequence[RewardSource]:
        """Where they come from."""

    @property
    def combine(self) -> str:
        """How they become one: sum, gate or lagrangian."""

    @property
    def safe_enough(self) -> float:
        """The score of the safe part that counts as safe."""

    @property
    def multiplier_rate(self) -> float:
        """How fast the multiplier of lagrangian moves."""


@dataclass
class Rewards:
    """All of a recipe's rewards, and how they become one.

    The multiplier is Safe RLHF's lambda (arXiv 2310.12773, section 3.3): it grows while answers are less safe
    than asked for, in its logarithm, so that it stays positive.
    """

    settings: Rewarding
    parts: list[tuple[RewardSource, Reward]] = field(init=False)
    multiplier: float = 1.0

    def __post_init__(self) -> None:
        self.parts = [(source, build_reward(source)) for source in self.settings.rewards]
        sides = {source.side == "safe" for source in self.settings.rewards}
        if self.settings.combine != "sum" and sides != {True, False}:
            raise UsageError(f"combine {self.settings.combine} needs rewards with side safe and others")

    @property
    def names(self) -> list[str]:
        """Of the parts, for the log."""
        return [
            f"{number}_{source.kind}_{source.side}" for number, source in enumerate(self.settings.rewards)
        ]

    def __call__(self, answers: Sequence[Answer]) -> tuple[np.ndarray, np.ndarray]:
        """Scores [B] and their parts [B, number of rewards]."""
        parts = np.stack([np.array(reward(answers), float) for _, reward in self.parts], 1)
        weights = np.array([source.weight for source, _ in self.parts])
        safe = np.array([source.side == "safe" for source, _ in self.parts])
        if self.settings.combine == "sum":
            return parts @ weights, parts
        helpful, harmless = parts[:, ~safe] @ weights[~safe], parts[:, safe] @ weights[safe]
        enough = self.settings.safe_enough
        if self.settings.combine == "gate":
            # Between 0 and 1, so that anything safe earns more than anything unsafe.
            useful = 1 / (1 + np.exp(-helpful))
            return np.where(harmless >= enough, useful, np.minimum(harmless - enough, 0.0)), parts
        # Divided by 1 + lambda, so that the scale of the reward stays.
        return (helpful + self.multiplier * (harmless - enough)) / (1 + self.multiplier), parts

    def learn(self, missing: float) -> None:
        """Move the multiplier after a rollout whose answers lacked so much safety on average."""
        if self.settings.combine == "lagrangian":
            self.multiplier *= float(np.exp(self.settings.multiplier_rate * np.clip(missing, -5, 5)))

    def missing_safety(self, parts: np.ndarray) -> float:
        """By how much the safe part of some answers lies below what is enough, on average."""
        safe = [number for number, (source, _) in enumerate(self.parts) if source.side == "safe"]
        weights = np.array([self.parts[number][0].weight for number in safe])
        return float(self.settings.safe_enough - (parts[:, safe] @ weights).mean()) if safe else 0.0
