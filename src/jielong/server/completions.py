"""`/v1/completions`: plain continuation, and the log-probabilities of a text (`echo`)."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import Response

from jielong.generation import Engine, Request, Step, TokenScore
from jielong.server.chat import usage_of
from jielong.server.completion_types import CompletionRequest
from jielong.server.errors import JsonResponse
from jielong.server.generations import Desk, Generations, unix_time
from jielong.server.logprobs import CompletionLogprobs, log_of
from jielong.server.prompts import encode, several
from jielong.server.served_model import ServedModel
from jielong.server.sse import DONE, Events, EventStream, event

_SCORED_TOKENS = 2048
"""Prompt tokens that are scored between two steps of the engine, so that no stream waits for long."""


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt, and what `echo` shows of it."""

    tokens: list[int]
    hidden: int
    """Begin tokens that were put before it."""
    text: str


async def answer_completion(body: CompletionRequest, model: ServedModel, desk: Desk) -> Response:
    """Go on with texts, at once or as a stream."""
    desk.check_count(len(several(body.prompt)) * (body.n or 1))
    prompts = await asyncio.to_thread(_prompts, body, model)
    desk.count_prompts(model, [prompt.tokens for prompt in prompts])
    completion = _Completion(body, model, prompts, desk)
    if body.stream:
        return await EventStream.begin(completion.stream())
    return JsonResponse(await completion.whole())


def _prompts(body: CompletionRequest, model: ServedModel) -> list[_Prompt]:
    tokenizer = model.engine.tokenizer
    prompts = []
    for given in several(body.prompt):
        tokens = encode(tokenizer, given)
        # A text that is only scored may fill the context.
        model.check_length(tokens, room=0 if body.max_tokens == 0 else 1)
        if isinstance(given, str):
            prompts.append(_Prompt(tokens, 1, given))
        else:
            prompts.append(_Prompt(tokens, 0, tokenizer.decode(tokens, skip_special=False)))
    return prompts


class _Completion:
    """One request's texts: choice number i goes on with prompt number i // n."""

    def __init__(self, body: CompletionRequest, model: ServedModel, prompts: list[_Prompt], desk: Desk):
        self._body = body
        self._model = model
        self._desk = desk
        self._prompts = prompts
        self._n = body.n or 1
        longest = 16 if body.max_tokens is None else body.max_tokens
        settings = body.settings(model.engine.defaults, max(longest, 1))
        requests = [
            Request(prompt.tokens, settings, stream=number, candidates=body.logprobs)
            for prompt in prompts
            for number in range(self._n)
        ]
        self._requests = requests if longest else []
        self._generations = Generations(model, self._requests, desk)
        self._logprobs = [CompletionLogprobs(model.engine.tokenizer) for _ in requests]
        self._finish: list[str | None] = [None if longest else "length"] * len(requests)
        self._tokens = 0
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": unix_time(),
            "model": model.name,
        }

    async def whole(self) -> dict[str, Any]:
        """All texts, when the last has ended."""
        async with self._generations:
            texts = await self._echo()
            async for index, steps in self._generations:
                texts[index] += self._read(index, steps)
        choices = [self._choice(index, text) for index, text in enumerate(texts)]
        return {**self._head, "choices": choices, "usage": self._usage()}

    async def stream(self) -> Events:
        """Texts as they come."""
        options = self._body.stream_options
        with_usage = options is not None and options.include_usage
        extra = {"usage": None} if with_usage else {}
        async with self._generations:
            yield b"".join(
                event({**self._head, "choices": [self._choice(index, text)], **extra})
                for index, text in enumerate(await self._echo())
            )
            async for index, steps in self._generations:
                text = self._read(index, steps)
                if text or self._body.logprobs is not None or self._finish[index] is not None:
                    yield event({**self._head, "choices": [self._choice(index, text)], **extra})
        usage = event({**self._head, "choices": [], "usage": self._usage()}) if with_usage else b""
        yield usage + DONE

    async def _echo(self) -> list[str]:
        """What each choice begins with: nothing, or its prompt with the log-probabilities of its tokens."""
        if not self._body.echo:
            return [""] * len(self._logprobs)
        if self._body.logprobs is not None:
            scores = await self._scores(self._body.logprobs)
            for index, logprobs in enumerate(self._logprobs):
                prompt = self._prompts[index // self._n]
                scored = zip(prompt.tokens, scores[index // self._n], strict=True)
                for token, score in list(scored)[prompt.hidden :]:
                    if score is None:
                        logprobs.add(token, None, None)
                    else:
                        logprobs.add(token, score.logprob, score.top)
        return [self._prompts[index // self._n].text for index in range(len(self._logprobs))]

    async def _scores(self, candidates: int) -> list[Sequence[TokenScore | None]]:
        """The log-probability of each token of each prompt after those before it (first: None)."""
        scores: list[Sequence[TokenScore | None]] = []
        while len(scores) < len(self._prompts):
            group: list[list[int]] = []
            for prompt in self._prompts[len(scores) :]:
                if group and sum(map(len, group)) + len(prompt.tokens) > _SCORED_TOKENS:
                    break
                group.append(prompt.tokens)
            scores += await self._desk.in_time(self._model.call(partial(_score, group, candidates)))
        return scores

    def _read(self, index: int, steps: Sequence[Step]) -> str:
        if self._body.logprobs is not None:
            for step in steps:
                self._logprobs[index].add(step.token, step.logprob, log_of(step.top))
        self._tokens += len(steps)
        self._finish[index] = steps[-1].finish_reason
        return "".join(step.text for step in steps)

    def _choice(self, index: int, text: str) -> dict[str, Any]:
        logprobs = None if self._body.logprobs is None else self._logprobs[index].take()
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": self._finish[index]}

    def _usage(self) -> dict[str, Any]:
        firsts = range(0, len(self._requests), self._n)  # of each prompt's answers
        cached = sum(map(self._generations.cached_tokens, firsts))
        return usage_of(sum(len(prompt.tokens) for prompt in self._prompts), cached, self._tokens)


def _score(tokens: list[list[int]], candidates: int, engine: Engine) -> list[list[TokenScore | None]]:
    return engine.token_logprobs(tokens, candidates)
