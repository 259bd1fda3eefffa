"""A conversation with a model: history, the context's limit, and answers that can be interrupted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from jielong.core.errors import JielongError
from jielong.generation.engine import Engine
from jielong.generation.request import FinishReason, Request, Step
from jielong.generation.settings import SamplingSettings

# Room kept for an answer when the context is nearly full: this share of the context, or max_tokens if that is
# less.
_ANSWER_SHARE = 8
# Likeliest tokens that each step of an answer among several shows.
DICE_SHOWN = 8


class MessageTooLongError(JielongError):
    """One message alone does not fit the context; the numbers are there for interfaces in other languages."""

    def __init__(self, tokens: int, context: int, room: int):
        super().__init__(
            f"this message does not fit: with the system text and the chat's frame it has {tokens} tokens, "
            f"and the context of {context} must keep {room} for the answer; shorten it"
        )
        self.tokens = tokens
        self.context = context
        self.room = room


class Teacher(Protocol):
    """Says which of several answers it likes best."""

    def score(self, conversations: Sequence[Sequence[dict[str, str]]]) -> list[float]:
        """One score a conversation, which ends with the answer: the higher, the better."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the answers of which the best is shown."""

    text: str
    score: float


class Answer:
    """The model's answer as it comes: iterate over its steps, or close it early.

    However it ends, what was said so far is in the conversation's history, so that the next turn builds on
    what the user has read. An answer that was closed before its first word takes the user's message back with
    it.
    """

    def __init__(self, session: "ChatSession", steps: Iterator[Step], dropped_turns: int):
        self._session = session
        self._iterator = self._run(steps)
        self._ended = False
        self.dropped_turns = dropped_turns
        """Oldest turns (a question and its answer) that were dropped from history to make room."""
        self.steps: list[Step] = []
        """Steps so far."""
        self.finish_reason: FinishReason | None = None
        """None while it runs, and when it was interrupted."""
        self.candidates: list[Candidate] = []
        """All answers of which this is the best, best first; none where there is no teacher."""

    @property
    def text(self) -> str:
        """Text so far."""
        return "".join(step.text for step in self.steps)

    def __iter__(self) -> Iterator[Step]:
        return self._iterator

    def close(self) -> None:
        """End the answer here; without effect when it has ended already."""
        if not self._ended:
            self._ended = True
            self._session._conclude(self)

    def _run(self, steps: Iterator[Step]) -> Iterator[Step]:
        try:
            for step in steps:
                self.steps.append(step)
                self.finish_reason = step.finish_reason
                yield step
                if self._ended:
                    return
        finally:
            self.close()


class ChatSession:
    """A conversation, kept as chat messages, in which whole old turns give way when the context is full."""

    def __init__(
        self,
        engine: Engine,
        settings: SamplingSettings | None = None,
        system: str | None = None,
        teacher: Teacher | None = None,
        samples: int = 1,
    ):
        """Begin a conversation.

        Args:
            engine: who answers.
            settings: how answers are sampled; the model's defaults when None. The n-th question rolls as row
                n of the seed, so that asking the same thing twice need not give the same answer.
            system: instructions that precede the conversation and are never dropped.
            teacher: who chooses among several answers.
            samples: how many there are; only the one that the teacher likes best is shown.
        """
        self._teacher = teacher
        self._samples = samples if teacher is not None else 1
        self._engine = engine
        self._settings = settings or engine.defaults
        self._asked = 0
        self.system = system
        self.turns: list[dict[str, str]] = []
        """User and assistant messages, by turns, without the system message."""
        self.last_answer: Answer | None = None

    @property
    def messages(self) -> list[dict[str, str]]:
        """The whole conversation, system message first."""
        first = [{"role": "system", "content": self.system}] if self.system else []
        return [*first, *self.turns]

    def reset(self) -> None:
        """Forget all turns; the system message stays."""
        self.turns = []
        self.last_answer = None

    def ask(self, text: str) -> Answer:
        """Say something to the model.

        Returns:
            The answer, to be iterated over. Its `dropped_turns` says how many old turns had to go.

        Raises:
            MessageTooLongError: if the message does not fit even without any earlier turn; the history is
                unchanged then.
        """
        if self.last_answer is not None:
            self.last_answer.close()
        turns = [*self.turns, {"role": "user", "content": text}]
        dropped = 0
        context = self._engine.context_length
        room = min(self._settings.max_tokens, max(1, context // _ANSWER_SHARE))
        ids = self._encode(turns)
        while len(ids) + room > context:
            if len(turns) == 1:
                raise MessageTooLongError(len(ids), context, room)
            turns = turns[_length_of_first_turn(turns) :]
            dropped += 1
            ids = self._encode(turns)
        if self._teacher is None:
            steps = self._engine.stream(ids, self._settings, index=self._asked)
        else:
            steps = self._best(ids, self._asked)
        self._asked += self._samples
        self.turns = turns
        self.last_answer = Answer(self, steps, dropped)
        return self.last_answer

    def _best(self, ids: list[int], first: int) -> Iterator[Step]:
        """Answer several times, then give the steps of the answer that the teacher likes best."""
        assert self._teacher is not None  # noqa: S101  (asked for with a teacher only)
        requests = [
            Request(ids, self._settings, first + number, DICE_SHOWN) for number in range(self._samples)
        ]
        generations = [self._engine.add(request) for request in requests]
        try:
            while any(generation.finish_reason is None for generation in generations):
                self._engine.step()
        finally:
            for generation in generations:
                generation.cancel()
        texts = [generation.completion().text for generation in generations]
        asked = self.messages
        scores = self._teacher.score([[*asked, {"role": "assistant", "content": text}] for text in texts])
        order = sorted(range(self._samples), key=lambda number: -scores[number])
        if self.last_answer is not None:
            self.last_answer.candidates = [Candidate(texts[number], scores[number]) for number in order]
        yield from generations[order[0]].take()

    def _encode(self, turns: list[dict[str, str]]) -> list[int]:
        first = [{"role": "system", "content": self.system}] if self.system else []
        return self._engine.tokenizer.encode_chat([*first, *turns], add_generation_prompt=True)

    def _conclude(self, answer: Answer) -> None:
        if answer is not self.last_answer:
            return
        if answer.finish_reason is not None or answer.text:
            self.turns.append({"role": "assistant", "content": answer.text})
        elif self.turns:
            self.turns.pop()


def _length_of_first_turn(turns: list[dict[str, str]]) -> int:
    """Messages up to the second user message: a question with all that answers it."""
    for place, message in enumerate(turns[1:], 1):
        if message["role"] == "user":
            return place
    return len(turns)
