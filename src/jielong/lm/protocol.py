"""What every language model can do, wherever it runs: the protocol, and what goes in and out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

from jielong.core.errors import JielongError, UsageError
from jielong.generation import SamplingSettings

Message = dict[str, Any]
"""One turn in OpenAI's form: `{"role": ..., "content": ...}`, perhaps with `tool_calls`, `tool_call_id`."""

Prompt = str | Sequence[Message]
"""A text to go on from, as a base model does, or a chat to answer."""

Tool = Mapping[str, Any]
"""A function to call: `{"type": "function", "function": {"name", "description", "parameters"}}`."""


class UnsupportedError(JielongError):
    """This model cannot do what was asked, whatever the arguments: a server without scoring, for one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate. Everything that an answer depends on, besides the model, stands here."""

    prompt: Prompt
    settings: SamplingSettings | None = None
    """How to sample; None leaves it to the model's own defaults."""
    n: int = 1
    """Samples of the one prompt; sample i of a seed is the same however many are asked for, where the model
    is local."""
    tools: Sequence[Tool] = ()
    tool_choice: str | Mapping[str, Any] = "auto"
    """`auto`, `none`, `required`, or `{"type": "function", "function": {"name": ...}}`."""
    schema: Mapping[str, Any] | None = None
    """JSON Schema that the answer's text obeys."""
    top_logprobs: int | None = None
    """None: no log-probabilities; k: that of each token, and the k likeliest ones beside it."""

    def __post_init__(self) -> None:
        """Refuse what no model could serve."""
        if not self.prompt:
            raise UsageError("a request needs a prompt: a text, or a list of messages")
        if self.n < 1:
            raise UsageError(f"a request asks for {self.n} samples; n must be 1 or more")
        if self.tools and isinstance(self.prompt, str):
            raise UsageError("tools need a chat: give messages instead of a text")

    def to_json(self) -> dict[str, Any]:
        """Plain values, equal for equal requests."""
        settings = None if self.settings is None else self.settings.model_dump(mode="json")
        prompt = self.prompt if isinstance(self.prompt, str) else list(self.prompt)
        return {
            "prompt": prompt, "settings": settings, "n": self.n, "tools": list(self.tools),
            "tool_choice": self.tool_choice, "schema": self.schema, "top_logprobs": self.top_logprobs,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of an answer."""

    token: str
    """Its text; a token that is only part of a character shows as U+FFFD."""
    logprob: float
    """Natural log of the model's own probability of it, at temperature 1 and without filters, where the model
    is local; of a remote one, what its server means by it."""
    top: list[tuple[str, float]]
    """The likeliest tokens in its place and their log-probabilities, likeliest first."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One sample."""

    message: Message
    """The assistant's turn, to be appended to the chat as it is: `content` (None where it only calls tools),
    `tool_calls` and `reasoning_content` where there are any."""
    finish_reason: str
    """`stop`, `length`, `tool_calls`, or what else a server says (`content_filter`)."""
    logprobs: list[TokenLogprob] | None = None

    @property
    def text(self) -> str:
        """What was said, without reasoning and tool calls."""
        return self.message.get("content") or ""

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """Calls in OpenAI's form: `{"id", "type", "function": {"name", "arguments"}}`, arguments as JSON."""
        return self.message.get("tool_calls") or []


@dataclass(frozen=True, slots=True)
class Usage:
    """What answers took; adds up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """At the prices of the settings; 0 where they name none."""

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost + other.cost,
        )


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a request: its n samples."""

    choices: list[Choice]
    usage: Usage
    cached: bool = False
    """Whether it came out of the cache, and so took nothing now; `usage` is what it had taken."""

    @property
    def message(self) -> Message:
        """The first sample's turn."""
        return self.choices[0].message

    @property
    def text(self) -> str:
        """The first sample's text."""
        return self.choices[0].text

    def to_json(self) -> dict[str, Any]:
        """Plain values that `from_json` reads."""
        return {"choices": [asdict(choice) for choice in self.choices], "usage": asdict(self.usage)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], cached: bool = False) -> Self:
        """Rebuild what `to_json` gave."""
        return cls([_choice(each) for each in values["choices"]], Usage(**values["usage"]), cached)


def _choice(values: Mapping[str, Any]) -> Choice:
    logprobs = values["logprobs"]
    if logprobs is not None:
        logprobs = [
            TokenLogprob(each["token"], each["logprob"], [(token, value) for token, value in each["top"]])
            for each in logprobs
        ]
    return Choice(values["message"], values["finish_reason"], logprobs)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an answer on its way."""

    text: str = ""
    """What to show next of the answer's text; whole characters."""
    reasoning: str = ""
    """The same of its reasoning."""
    response: Response | None = None
    """On the last piece alone: all of it, with tool calls and usage."""


class Stream(Protocol):
    """An answer as it comes. Closing it early ends the work for it."""

    def __iter__(self) -> Self:
        """Itself."""

    def __next__(self) -> Chunk:
        """The next piece; the last one holds the response."""

    def close(self) -> None:
        """End it here."""


Done = Callable[[int, Response], None]
"""Called with a request's place in its list and its response, as soon as that is there."""


class LanguageModel(AbstractContextManager["LanguageModel"], Protocol):
    """Something that goes on from a prompt: an engine in this process, or a server.

    Any number of threads may use one. `with` closes it.
    """

    @property
    def name(self) -> str:
        """For people and reports."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What its answers depend on besides the request, as plain values: for the cache. Holds no key."""

    @property
    def context_length(self) -> int | None:
        """Most tokens, prompt and answer together; None where that is not known."""

    @property
    def usage(self) -> Usage:
        """All that it took so far."""

    def repeats(self, request: Request) -> bool:
        """Whether the same request gives the same answer again, so that it may be kept."""

    def generate(self, requests: Sequence[Request], done: Done | None = None) -> list[Response]:
        """Answer all requests, as many at a time as the model can.

        Args:
            requests: any number.
            done: told of each response as it comes, in any order, one at a time.

        Returns:
            One response a request, in their order.

        Raises:
            UnsupportedError: the model cannot do what a request asks for.
            JielongError: a request cannot be served, or the server fails again and again. Responses that
                `done` was told of are not lost.
        """

    def stream(self, request: Request) -> Stream:
        """Answer one request of one sample, piece by piece.

        The pieces' texts join to the text of the last piece's response.

        Raises:
            JielongError: as `generate`; also in the middle, when the connection breaks.
        """

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[float]:
        """Log-probability (nats) of each continuation after its prompt, at temperature 1.

        Raises:
            UnsupportedError: the model does not tell.
            JielongError: a continuation is empty, the lists differ in length, or a pair is too long.
        """

    def tokenize(self, prompt: Prompt, tools: Sequence[Tool] = ()) -> list[int]:
        """Token ids of a prompt as the model reads it: a text after the begin token, a chat in its template.

        Raises:
            UnsupportedError: the model does not tell.
        """

    def close(self) -> None:
        """Give up what it holds: connections, threads."""
