"""A language model in this process: the engine, spoken to with chats and texts."""

import functools
import math
import queue
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from jielong.core.errors import JielongError, UsageError
from jielong.core.files import hash_json
from jielong.generation import Engine, EngineThread, Grammar, Step
from jielong.generation import Request as EngineRequest
from jielong.lm.protocol import (
    Choice,
    Chunk,
    Done,
    Message,
    Prompt,
    Request,
    Response,
    TokenLogprob,
    Tool,
    UnsupportedError,
    Usage,
)
from jielong.lm.tool_calls import ToolCall, ToolCallParser
from jielong.tokenizer import Tokenizer

_Arrivals = queue.SimpleQueue[tuple[int, Step | Exception]]


class LocalModel:
    """An engine in a thread of its own. Requests of all callers decode together, joining at the next step.

    Args:
        engine: from now on used by this alone.
        name: for people.
        identity: gives what tells this model from others, as plain values, when the cache asks; without it
            answers cannot be kept.
    """

    def __init__(
        self, engine: Engine, name: str = "model", identity: Callable[[], Mapping[str, Any]] | None = None
    ) -> None:
        self._engine = engine
        self._tokenizer = engine.tokenizer
        self._thread = EngineThread(engine)
        self._name = name
        self._make_identity = identity
        self._usage = Usage()

    def __repr__(self) -> str:
        return f"LocalModel({self._name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """As given."""
        return self._name

    @functools.cached_property
    def identity(self) -> Mapping[str, Any]:
        """What was given, tokenizer and template, and what holds where a request is silent."""
        if self._make_identity is None:
            raise UnsupportedError(
                f"{self._name} was not loaded from a folder, so its answers cannot be kept"
            )
        return {
            **self._make_identity(),
            "tokenizer": self._tokenizer.fingerprint,
            "defaults": self._engine.defaults.model_dump(mode="json"),
            "end_ids": sorted(self._engine.end_ids),
        }

    @property
    def context_length(self) -> int:
        """The network's."""
        return self._engine.context_length

    @property
    def usage(self) -> Usage:
        """Tokens read and written; they cost nothing."""
        return self._usage

    def close(self) -> None:
        """End the engine's thread."""
        self._thread.close()

    def repeats(self, request: Request) -> bool:  # noqa: ARG002 - the protocol's
        """Always: every roll has a seed."""
        return True

    def tokenize(self, prompt: Prompt, tools: Sequence[Tool] = ()) -> list[int]:
        """Give the ids that the engine goes on from; see `LanguageModel.tokenize`."""
        if isinstance(prompt, str):
            return [self._tokenizer.bos_id, *self._tokenizer.encode(prompt)]
        return self._tokenizer.encode_chat(prompt, add_generation_prompt=True, tools=list(tools) or None)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[float]:
        """Score in batches; see `LanguageModel.score`. Prompt and continuation are tokenized apart."""
        if len(prompts) != len(continuations):
            raise JielongError(f"there are {len(prompts)} prompts but {len(continuations)} continuations")
        starts = [self.tokenize(prompt) for prompt in prompts]
        ends = [self._tokenizer.encode(text) for text in continuations]
        scores = self._thread.call(lambda engine: engine.score(starts, ends)).result()
        self._count(Usage(prompt_tokens=sum(map(len, starts)) + sum(map(len, ends))))
        return scores

    def generate(self, requests: Sequence[Request], done: Done | None = None) -> list[Response]:
        """Answer all requests together; see `LanguageModel.generate`."""
        asked = [self._begin(request) for request in requests]
        owners = [(index, sample) for index, answer in enumerate(asked) for sample in answer.samples]
        responses: dict[int, Response] = {}
        arrivals: _Arrivals = queue.SimpleQueue()
        for place, step in self._steps(
            [request for answer in asked for request in answer.requests], arrivals
        ):
            index, sample = owners[place]
            sample.push(step)
            if all(sample.finish_reason is not None for sample in asked[index].samples):
                responses[index] = asked[index].response()
                self._count(responses[index].usage)
                if done is not None:
                    done(index, responses[index])
        return [responses[index] for index in range(len(requests))]

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """Answer one request piece by piece; see `LanguageModel.stream`."""
        if request.n != 1:
            raise UsageError(f"a stream is of one sample, not {request.n}")
        return self._pieces(self._begin(request))

    # --- inside

    def _pieces(self, answer: "_Answer") -> Generator[Chunk, None, None]:
        for _, step in self._steps(answer.requests, queue.SimpleQueue()):
            text = answer.samples[0].push(step)
            if text:
                yield Chunk(text)
        response = answer.response()
        self._count(response.usage)
        yield Chunk(response=response)

    def _begin(self, request: Request) -> "_Answer":
        tools = () if request.tool_choice == "none" else request.tools
        prompt = self.tokenize(request.prompt, tools)
        grammar = self._grammar(request)
        requests = [
            EngineRequest(
                prompt,
                request.settings or self._engine.defaults,
                stream=number,
                candidates=request.top_logprobs,
                grammar=grammar,
            )
            for number in range(request.n)
        ]
        for each in requests:
            self._engine.check(each)
        samples = [
            _Sample(self._tokenizer, self._engine.end_ids, bool(tools), request.top_logprobs is not None)
            for _ in requests
        ]
        return _Answer(requests, samples)

    def _grammar(self, request: Request) -> Grammar | None:
        """The form that the request's answers must have: well-formed tool calls, or JSON by the schema."""
        from jielong.generation.grammar import json_schema_grammar, tool_call_grammar

        choice, ends = request.tool_choice, self._engine.end_ids
        if request.tools and choice != "none":
            if request.schema is not None and choice == "auto":
                raise UsageError(
                    "an answer of a schema cannot call a tool: set tool_choice to none or required"
                )
            name = choice if isinstance(choice, str) else str(choice["function"]["name"])
            return tool_call_grammar(self._tokenizer, ends, request.tools, name)
        return None if request.schema is None else json_schema_grammar(self._tokenizer, ends, request.schema)

    def _steps(
        self, requests: Sequence[EngineRequest], arrivals: _Arrivals
    ) -> Generator[tuple[int, Step], None, None]:
        """Let the engine's thread serve the requests; give (place of the request, its next step)."""
        tickets = []
        left = len(requests)
        try:
            for place, request in enumerate(requests):
                deliver = functools.partial(_deliver, arrivals, place)
                tickets.append(self._thread.submit(request, deliver))
            while left:
                place, step = arrivals.get()
                if isinstance(step, Exception):
                    raise step
                left -= step.finish_reason is not None
                yield place, step
        finally:
            for ticket in tickets:
                ticket.cancel()

    def _count(self, usage: Usage) -> None:
        self._usage += usage


def _deliver(arrivals: _Arrivals, place: int, step: Step | Exception) -> None:
    arrivals.put((place, step))


@dataclass
class _Sample:
    """One sample on its way."""

    tokenizer: Tokenizer
    end_ids: Collection[int]
    tools: bool
    with_logprobs: bool
    parser: ToolCallParser = field(default_factory=ToolCallParser)
    texts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    tokens: int = 0
    finish_reason: str | None = None

    def push(self, step: Step) -> str:
        """Take a step; return the text that it adds to what is said."""
        if step.finish_reason == "cancelled":
            raise JielongError("the model was closed in the middle of an answer")
        self.tokens += 1
        self.finish_reason = step.finish_reason
        if self.with_logprobs and step.token not in self.end_ids:
            self.logprobs.append(self._logprob(step))
        parts: list[str | ToolCall] = [step.text]
        if self.tools:
            parts = self.parser.push(step.text)
            if step.finish_reason is not None:
                parts += self.parser.flush()
        self.calls += [part for part in parts if isinstance(part, ToolCall)]
        text = "".join(part for part in parts if isinstance(part, str))
        self.texts.append(text)
        return text

    def choice(self, seed: Sequence[Any]) -> Choice:
        """The sample at its end; `seed` is what the names of its calls are made from."""
        content = "".join(self.texts)
        message: Message = {"role": "assistant", "content": content}
        reason = self.finish_reason or "stop"
        if self.calls:
            message["content"] = content or None
            message["tool_calls"] = [
                {"id": f"call_{hash_json([*seed, number])[:24]}", "type": "function",
                 "function": {"name": call.name, "arguments": call.arguments}}
                for number, call in enumerate(self.calls)
            ]  # fmt: skip
            reason = "tool_calls" if reason == "stop" else reason
        return Choice(message, reason, self.logprobs if self.with_logprobs else None)

    def _logprob(self, step: Step) -> TokenLogprob:
        top = [(self._text(token), math.log(share) if share > 0 else -math.inf) for token, share in step.top]
        return TokenLogprob(self._text(step.token), step.logprob or 0.0, top)

    def _text(self, token: int) -> str:
        return self.tokenizer.token_bytes(token).decode("utf-8", errors="replace")


@dataclass
class _Answer:
    """A request on its way: one engine request and one sample each."""

    requests: list[EngineRequest]
    samples: list[_Sample]

    def response(self) -> Response:
        prompt = list(self.requests[0].prompt)
        choices = [sample.choice([prompt, number]) for number, sample in enumerate(self.samples)]
        usage = Usage(len(prompt), sum(sample.tokens for sample in self.samples))
        return Response(choices, usage)
