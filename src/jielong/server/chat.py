"""`/v1/chat/completions`."""

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from fastapi import Response

from jielong.generation import Request
from jielong.lm.tool_calls import ToolCall
from jielong.server.chat_task import AnswerReader, ChatTask, Part, requests_of
from jielong.server.chat_types import ChatRequest, NamedTool
from jielong.server.errors import JsonResponse
from jielong.server.generations import Desk, Generations, unix_time
from jielong.server.served_model import ServedModel
from jielong.server.sse import DONE, Events, EventStream, event


async def answer_chat(body: ChatRequest, model: ServedModel, desk: Desk) -> Response:
    """Go on with a conversation, at once or as a stream."""
    task = _task(body, model)
    requests = await asyncio.to_thread(requests_of, model, task)
    desk.count_prompts(model, [requests[0].prompt])
    chat = _Chat(model, task, requests, desk)
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return await EventStream.begin(chat.stream(with_usage))
    return JsonResponse(await chat.whole())


def _task(body: ChatRequest, model: ServedModel) -> ChatTask:
    choice = body.tool_choice or "auto"
    tools = [] if choice == "none" else [tool.plain() for tool in body.tools or ()]
    longest = body.max_completion_tokens or body.max_tokens or model.engine.context_length
    return ChatTask(
        messages=[message.plain() for message in body.messages],
        tools=tools,
        choice=choice.function.name if isinstance(choice, NamedTool) else choice,
        parallel=body.parallel_tool_calls is not False,
        form=body.response_format,
        settings=body.settings(model.engine.defaults, longest),
        answers=body.n or 1,
        candidates=(body.top_logprobs or 0) if body.logprobs else None,
    )


class _Chat:
    """One request's answers."""

    def __init__(self, model: ServedModel, task: ChatTask, requests: Sequence[Request], desk: Desk):
        self._requests = requests
        self._generations = Generations(model, requests, desk)
        self._readers = [AnswerReader(model, task) for _ in requests]
        self._with_logprobs = task.candidates is not None
        self._head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": unix_time(), "model": model.name}

    async def whole(self) -> dict[str, Any]:
        """All answers, when the last has ended."""
        async with self._generations:
            async for index, steps in self._generations:
                self._readers[index].read(steps)
        choices = [
            {
                "index": index,
                "message": _message(reader),
                "logprobs": self._logprobs(reader.entries),
                "finish_reason": reader.finish_reason,
            }
            for index, reader in enumerate(self._readers)
        ]
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": self._usage()}

    async def stream(self, with_usage: bool) -> Events:
        """Answers as they come."""
        no_usage = {"usage": None} if with_usage else {}
        async with self._generations:
            opening = {"role": "assistant", "content": ""}
            yield b"".join(
                self._chunk([self._choice(index, opening)], no_usage) for index in range(len(self._readers))
            )
            async for index, steps in self._generations:
                reader = self._readers[index]
                before = len(reader.calls)
                parts, entries = reader.read(steps)
                deltas = _deltas(parts, before) or ([{}] if entries else [])
                choices = [self._choice(index, delta) for delta in deltas]
                if entries:
                    choices[0]["logprobs"] = self._logprobs(entries)
                if reader.finish_reason is not None:
                    choices.append(self._choice(index, {}, reader.finish_reason))
                if choices:
                    yield b"".join(self._chunk([choice], no_usage) for choice in choices)
        usage = self._chunk([], {"usage": self._usage()}) if with_usage else b""
        yield usage + DONE

    def _chunk(self, choices: list[dict[str, Any]], extra: dict[str, Any]) -> bytes:
        return event({**self._head, "object": "chat.completion.chunk", "choices": choices, **extra})

    def _choice(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    def _logprobs(self, entries: list[dict[str, Any]]) -> dict[str, Any] | None:
        return {"content": entries, "refusal": None} if self._with_logprobs else None

    def _usage(self) -> dict[str, Any]:
        completion = sum(reader.tokens for reader in self._readers)
        return usage_of(len(self._requests[0].prompt), self._generations.cached_tokens(0), completion)


def usage_of(prompt: int, cached: int, completion: int) -> dict[str, Any]:
    """Tokens read, those of them that were known already, and tokens written, with OpenAI's names."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _message(reader: AnswerReader) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reader.text, "refusal": None}
    if reader.calls:
        message["content"] = reader.text or None
        message["tool_calls"] = [_call(call) for call in reader.calls]
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _deltas(parts: Sequence[Part], calls: int) -> list[dict[str, Any]]:
    """What a stream says of an answer's next parts; `calls` tool calls came before them."""
    deltas: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, ToolCall):
            deltas.append({"tool_calls": [{"index": calls, **_call(part)}]})
            calls += 1
        elif deltas and "content" in deltas[-1]:
            deltas[-1]["content"] += part
        else:
            deltas.append({"content": part})
    return deltas
