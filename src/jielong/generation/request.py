"""What is asked of the engine, and what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from jielong.generation.settings import SamplingSettings

FinishReason = Literal["stop", "length", "cancelled"]
"""`stop`: an end token or a stop string came; `length`: `max_tokens` or the context ran out."""


class GrammarState(Protocol):
    """What one answer may still become."""

    def allowed(self) -> Tensor:
        """Tokens that may come next: bool [V] over the tokenizer's vocabulary, never all false.

        End tokens are among them exactly where the answer may end.
        """

    def accept(self, token: int) -> None:
        """Take the token that came."""


class Grammar(Protocol):
    """A form that answers must have; shared by any number of answers."""

    def begin(self) -> GrammarState:
        """Begin an answer."""


@dataclass(frozen=True, slots=True)
class Request:
    """One answer that is wanted."""

    prompt: Sequence[int]
    """Token ids, at least one."""
    settings: SamplingSettings
    stream: int = 0
    """Which stream of the seed's numbers to roll with: n answers to one prompt are streams 0 to n - 1."""
    candidates: int | None = None
    """How many of the likeliest tokens each Step shows; None works out no log-probabilities at all."""
    grammar: Grammar | None = None
    """The form that the answer must have."""


@dataclass(frozen=True, slots=True)
class Step:
    """One roll of the die."""

    token: int
    text: str
    """Text that can be shown now: whole characters only, perhaps none."""
    logprob: float | None
    """Natural log of the model's own probability of the token (no temperature, no filters)."""
    probability: float | None
    """Probability that the token was rolled with, after temperature, filters and penalties; 1 when greedy."""
    top: list[tuple[int, float]]
    """The model's likeliest tokens and their own probabilities, likeliest first."""
    top_rolled: list[tuple[int, float]]
    """The same tokens in the same order with the probabilities they were rolled with."""
    finish_reason: FinishReason | None
    """Set on the last step."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What was generated after one prompt."""

    ids: list[int]
    """Generated tokens; the end token, if one came, is the last."""
    text: str
    """Their text, without the end token and cut before a stop string."""
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class TokenScore:
    """What the model gives to one token of a text, after those before it."""

    token: int
    logprob: float
    """Natural log of its probability."""
    top: list[tuple[int, float]]
    """The likeliest tokens at this place and their log-probabilities, likeliest first."""
