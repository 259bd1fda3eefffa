"""Server-sent events: how an answer is streamed."""

import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from jielong.server.errors import api_error, to_json_bytes

DONE = b"data: [DONE]\n\n"

_LOG = logging.getLogger("jielong.server")

Events = AsyncGenerator[bytes, None]


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """One event: a JSON object, with a name where clients expect one."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + to_json_bytes(data) + b"\n\n"


async def named_events(events: AsyncGenerator[dict[str, Any], None]) -> Events:
    """Events that are named after their `type`, as Responses and Messages have them."""
    try:
        async for told in events:
            yield event(told, told["type"])
    finally:
        await events.aclose()


class EventStream(Response):
    """Sends events as they come. What fails after the first one is told in an event: the status has gone out.

    Args:
        first: the first bytes.
        rest: what follows; it is closed however the sending ends.
    """

    media_type = "text/event-stream"

    def __init__(self, first: bytes, rest: Events):
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._rest = rest

    @classmethod
    async def begin(cls, events: Events) -> "EventStream":
        """Wait for the first event: what is wrong with a request is raised here and gets its own status."""
        return cls(await anext(events), events)

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the answer (ASGI)."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for data in self._rest:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as error:
            told = api_error(error)
            if told.status == 500:
                _LOG.exception("a stream failed")
            body = event(told.body(scope["path"]), "error")
            await send({"type": "http.response.body", "body": body, "more_body": True})
        finally:
            await self._rest.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
