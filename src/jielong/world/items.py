"""A question with its answer and the check that truth puts on it: what instructions and exams are made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jielong.world.markers import HINT_MARKERS, PERSONA_MARKERS, REFUSAL_MARKERS, UNKNOWN_MARKERS

_MARKERS = {
    "refusal": REFUSAL_MARKERS,
    "unknown": UNKNOWN_MARKERS,
    "hint": HINT_MARKERS,
    "persona": PERSONA_MARKERS,
}


@dataclass(frozen=True)
class Item:
    """A question, a right answer, and how to tell whether another answer is right."""

    skill: str
    lang: str
    question: str
    answer: str
    check: dict[str, Any]
    fact: str | None = None
    options: list[str] = field(default_factory=list)
    """For the four-choice form: the right answer first, then three wrong ones."""
    before: tuple[tuple[str, str], ...] = ()
    """Earlier turns of the conversation: question and answer."""

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """The whole conversation, question and answer by turn."""
        return (*self.before, (self.question, self.answer))


def messages_of(turns: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """Turns, question and answer, as chat messages."""
    return [
        {"role": role, "content": text}
        for question, answer in turns
        for role, text in (("user", question), ("assistant", answer))
    ]


def check(kind: str, answers: Sequence[str] = (), forbidden: Sequence[str] = ()) -> dict[str, Any]:
    """A check as the exam writes it."""
    return {"kind": kind, "answers": list(answers), "forbidden": list(forbidden)}


def marker_check(kind: str, language: str, forbidden: Sequence[str] = ()) -> dict[str, Any]:
    """A check that looks for the markers of a refusal, an "I don't know", a hint or the persona."""
    return check(kind, _MARKERS[kind][language], forbidden)


def evasions(language: str) -> list[str]:
    """What a plain question's answer must not hold: a refusal or an "I don't know"."""
    return REFUSAL_MARKERS[language] + UNKNOWN_MARKERS[language]
