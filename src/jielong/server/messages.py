"""`/v1/messages`: what Chat Completions does, in Anthropic's form."""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

from fastapi import Response

from jielong.lm.tool_calls import ToolCall
from jielong.server.chat_task import AnswerReader, ChatTask, Part, prompt_of, requests_of
from jielong.server.errors import JsonResponse
from jielong.server.generations import Desk, Generations
from jielong.server.message_types import MessageConversation, MessageRequest
from jielong.server.served_model import ServedModel
from jielong.server.sse import EventStream, named_events

Event = dict[str, Any]


async def answer_message(body: MessageRequest, model: ServedModel, desk: Desk) -> Response:
    """Go on with a conversation, at once or as a stream."""
    task = ChatTask(
        messages=body.plain_messages(),
        tools=body.plain_tools(),
        choice=body.choice(),
        parallel=not body.tool_choice.disable_parallel_tool_use,
        form=body.form(),
        settings=body.settings(model.engine.defaults, body.max_tokens),
    )
    [request] = await asyncio.to_thread(requests_of, model, task)
    desk.count_prompts(model, [request.prompt])
    writer = MessageWriter(model.name, len(request.prompt))
    events = _events(AnswerReader(model, task), Generations(model, [request], desk), writer, body.max_tokens)
    if body.stream:
        return await EventStream.begin(named_events(events))
    async for _ in events:
        pass
    return JsonResponse(writer.message)


async def count_message_tokens(body: MessageConversation, model: ServedModel) -> Response:
    """Count the tokens that a conversation has for the model."""
    prompt = await asyncio.to_thread(prompt_of, model, body.plain_messages(), body.plain_tools())
    return JsonResponse({"input_tokens": len(prompt)})


async def _events(
    reader: AnswerReader, generations: Generations, writer: "MessageWriter", most: int
) -> AsyncGenerator[Event, None]:
    """The events of a message; its writer has the whole of it when they are over."""
    async with generations:
        yield writer.begin()
        async for _, steps in generations:
            for told in writer.write(reader.read(steps)[0]):
                yield told
    stop = generations.stopped_by(0)
    reason = {"tool_calls": "tool_use", "length": "max_tokens"}.get(reader.finish_reason or "", "end_turn")
    if reason == "end_turn" and stop is not None:
        reason = "stop_sequence"
    if reason == "max_tokens" and reader.tokens < most:
        reason = "model_context_window_exceeded"
    for told in writer.end(reason, stop, generations.cached_tokens(0), reader.tokens):
        yield told


class MessageWriter:
    """Turns an answer's parts into the events that build a message.

    Args:
        model: its name.
        prompt: tokens of the prompt.
    """

    def __init__(self, model: str, prompt: int):
        self._prompt = prompt
        self._in_text = False
        self.message: dict[str, Any] = {
            "id": f"msg_{uuid.uuid4().hex[:24]}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self._usage(0, 0),
        }

    def begin(self) -> Event:
        """The event before the first token; what of the prompt was known is told at the end."""
        return {"type": "message_start", "message": {**self.message, "content": []}}

    def write(self, parts: Sequence[Part]) -> Iterator[Event]:
        """The events of the answer's next parts."""
        for part in parts:
            if isinstance(part, ToolCall):
                yield from self._end_text()
                named = {"id": f"toolu_{uuid.uuid4().hex[:24]}", "name": part.name, "input": {}}
                yield self._begin_block({"type": "tool_use", **named})
                yield self._delta({"type": "input_json_delta", "partial_json": part.arguments})
                self.message["content"][-1]["input"] = json.loads(part.arguments)
                yield self._event("content_block_stop")
            else:
                if not self._in_text:
                    self._in_text = True
                    yield self._begin_block({"type": "text", "text": ""})
                self.message["content"][-1]["text"] += part
                yield self._delta({"type": "text_delta", "text": part})

    def end(self, reason: str, stop: str | None, cached: int, tokens: int) -> Iterator[Event]:
        """The events after the last token."""
        yield from self._end_text()
        ended, usage = {"stop_reason": reason, "stop_sequence": stop}, self._usage(cached, tokens)
        self.message |= {**ended, "usage": usage}
        yield {"type": "message_delta", "delta": ended, "usage": usage}
        yield {"type": "message_stop"}

    def _begin_block(self, block: dict[str, Any]) -> Event:
        self.message["content"].append(block)
        return self._event("content_block_start", content_block=dict(block))

    def _delta(self, delta: dict[str, Any]) -> Event:
        return self._event("content_block_delta", delta=delta)

    def _end_text(self) -> Iterator[Event]:
        if self._in_text:
            self._in_text = False
            yield self._event("content_block_stop")

    def _event(self, kind: str, **fields: Any) -> Event:
        return {"type": kind, "index": len(self.message["content"]) - 1, **fields}

    def _usage(self, cached: int, tokens: int) -> dict[str, Any]:
        """Tokens of the prompt are counted apart by whether they were known."""
        return {
            "input_tokens": self._prompt - cached,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": tokens,
        }
