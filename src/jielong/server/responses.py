"""`/v1/responses`: what Chat Completions does, in OpenAI's newer form. Nothing is stored."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import Response

from jielong.generation import Request
from jielong.server.chat_task import AnswerReader, ChatTask, requests_of
from jielong.server.errors import JsonResponse
from jielong.server.generations import Desk, Generations, unix_time
from jielong.server.response_events import ResponseWriter
from jielong.server.response_types import FlatJsonSchemaForm, FlatNamedTool, ResponseRequest
from jielong.server.served_model import ServedModel
from jielong.server.sse import Events, EventStream, event


async def answer_response(body: ResponseRequest, model: ServedModel, desk: Desk) -> Response:
    """Go on with a conversation, at once or as a stream."""
    task = _task(body, model)
    [request] = await asyncio.to_thread(requests_of, model, task)
    desk.count_prompts(model, [request.prompt])
    writer = ResponseWriter(_response(body, model, task))
    events = _events(AnswerReader(model, task), Generations(model, [request], desk), request, writer)
    if body.stream:
        return await EventStream.begin(_stream(events))
    async for _ in events:
        pass
    return JsonResponse(writer.response)


def _task(body: ResponseRequest, model: ServedModel) -> ChatTask:
    choice = body.tool_choice or "auto"
    form = body.text.format if body.text is not None else None
    with_logprobs = body.top_logprobs is not None or "message.output_text.logprobs" in (body.include or ())
    return ChatTask(
        messages=body.messages(),
        tools=[] if choice == "none" else [tool.plain() for tool in body.tools or ()],
        choice=choice.name if isinstance(choice, FlatNamedTool) else choice,
        parallel=body.parallel_tool_calls is not False,
        form=form.nested() if isinstance(form, FlatJsonSchemaForm) else form,
        settings=body.settings(model.engine.defaults, body.max_output_tokens or model.engine.context_length),
        candidates=(body.top_logprobs or 0) if with_logprobs else None,
    )


async def _events(
    reader: AnswerReader, generations: Generations, request: Request, writer: ResponseWriter
) -> AsyncGenerator[dict[str, Any], None]:
    """The events of a response; its writer has the whole of it when they are over."""
    async with generations:
        for told in writer.begin():
            yield told
        async for _, steps in generations:
            for told in writer.write(*reader.read(steps)):
                yield told
    usage = _usage(len(request.prompt), generations.cached_tokens(0), reader.tokens)
    for told in writer.end(reader.finish_reason, usage, unix_time()):
        yield told


async def _stream(events: AsyncGenerator[dict[str, Any], None]) -> Events:
    try:
        async for told in events:
            yield event(told, told["type"])
    finally:
        await events.aclose()


def _usage(prompt: int, cached: int, answer: int) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + answer,
    }


def _response(body: ResponseRequest, model: ServedModel, task: ChatTask) -> dict[str, Any]:
    """The response object before anything was generated."""
    given = body.model_dump(exclude_none=True, by_alias=True)
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": unix_time(),
        "status": "in_progress",
        "model": model.name,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": task.settings.temperature,
        "text": given.get("text") or {"format": {"type": "text"}},
        "tool_choice": given.get("tool_choice", "auto"),
        "tools": given.get("tools", []),
        "top_logprobs": body.top_logprobs,
        "top_p": task.settings.top_p,
        "truncation": "disabled",
        "usage": None,
    }
