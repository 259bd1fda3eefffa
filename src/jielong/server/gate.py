"""What every request passes first: who may ask, and how much; and what happens when a client leaves."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jielong.server.errors import ApiError
from jielong.server.limits import Limits
from jielong.server.metrics import Metrics
from jielong.server.settings import ServerSettings
from jielong.server.visitors import Visitors, check_visitor

_BACKSTOP_SECONDS = 60.0
"""Beyond the time of a request: for a client that takes its answer too slowly."""


class Gate:
    """ASGI middleware in front of everything."""

    def __init__(
        self, app: ASGIApp, settings: ServerSettings, visitors: Visitors, limits: Limits, metrics: Metrics
    ):
        self._app = app
        self._settings = settings
        self._visitors = visitors
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        scope["jielong.began"] = began = loop.time()
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            check_visitor(self._visitors, scope)
            if scope["method"] == "POST":
                with self._limits.request(client_of(scope)):
                    await self._take(scope, receive, watched)
            else:
                await self._app(scope, receive, watched)
        except ApiError as error:
            await error.response(scope["path"])(scope, receive, watched)
        except Exception:
            status = 500
            raise
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.add(route=route, status=str(status or 499))
            self._metrics.seconds.observe(loop.time() - began, route=route)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body and answer; stop when the client is gone or its time is long over."""
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                body = await self._read(scope, receive)
        except TimeoutError:
            raise ApiError(408, "the body of the request did not come in time") from None
        if body is None:
            return
        left = asyncio.Event()
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            if unread:
                return unread.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        answering = asyncio.ensure_future(self._app(scope, replay, send))
        leaving = asyncio.ensure_future(_disconnection(receive))
        try:
            await asyncio.wait(
                [answering, leaving],
                timeout=self._settings.request_seconds + _BACKSTOP_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            left.set()
            leaving.cancel()
            if not answering.done():
                answering.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)
        if not answering.cancelled() and (error := answering.exception()) is not None:
            raise error

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None if the client left before its end."""
        most = self._settings.max_body_bytes
        too_large = ApiError(413, f"the body is larger than the {most} bytes that this server reads")
        stated = Headers(scope=scope).get("content-length", "")
        if stated.isdigit() and int(stated[:20]) > most:
            raise too_large
        pieces, length, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            pieces.append(message.get("body", b""))
            length += len(pieces[-1])
            if length > most:
                raise too_large
            more = message.get("more_body", False)
        return b"".join(pieces)


def client_of(scope: Scope) -> str:
    """Who a request comes from: the address of its connection."""
    client = scope.get("client")
    return client[0] if client else "local"


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
