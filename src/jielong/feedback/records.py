"""What people or judges said about answers: a pair, a thumb, a ranking, or a mark for each step."""

from dataclasses import dataclass, field
from typing import Any

Message = dict[str, Any]
Tools = list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two completions of a prompt, one of which was preferred."""

    id: str
    prompt: list[Message]
    """The chat so far; its last turn is the user's, or a tool's."""
    chosen: list[Message]
    """What the assistant said, usually one message; a chat goes on with it as it stands."""
    rejected: list[Message]
    margin: float = 0.0
    """By how much it was preferred; 0 where that is not known."""
    tie: bool = False
    """Whether neither was better after all."""
    tools: Tools = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Thumb:
    """A completion that somebody liked or did not."""

    id: str
    prompt: list[Message]
    completion: list[Message]
    label: bool
    """True for a thumb up."""
    tools: Tools = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ranking:
    """Several completions of a prompt, the best one first."""

    id: str
    prompt: list[Message]
    completions: tuple[list[Message], ...]
    scores: tuple[float, ...] = ()
    """What they scored, falling, where it is known; of equal scores none is the better one."""
    tools: Tools = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Steps:
    """An answer step by step, with whether each step was right."""

    id: str
    prompt: list[Message]
    steps: tuple[str, ...]
    labels: tuple[bool, ...]
    metadata: dict[str, Any] = field(default_factory=dict)


Record = Pair | Thumb | Ranking | Steps
