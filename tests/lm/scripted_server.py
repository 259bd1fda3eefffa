"""A real HTTP server whose answers, and failures, a test writes down."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    body: Any = None
    """An object, or bytes as they are."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before anything is sent."""
    cut: int | None = None
    """Bytes of the body after which the connection is cut."""
    pieces: list[bytes] | None = None
    """Sent instead of the body, chunk by chunk, as a stream; a cut is after so many pieces."""
    pause: float = 0.0
    """Seconds between two pieces."""


@dataclass
class Heard:
    path: str
    body: Any
    headers: dict[str, str]
    at: float


class ScriptedServer:
    """Answers the n-th request as a function of (n, request) says."""

    def __init__(self, answer: Callable[[int, Heard], Reply]):
        self.answer = answer
        self.heard: list[Heard] = []
        self.most_at_once = 0
        self.lost: list[Heard] = []
        """Requests whose sender went away while it was answered."""
        self._now = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._serve(self)

            def do_GET(self) -> None:
                outer._serve(self)

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *arguments: Any) -> None:
                """A client that went away is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        heard = Heard(handler.path, body, dict(handler.headers), time.monotonic())
        with self._lock:
            number = len(self.heard)
            self.heard.append(heard)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            _send(handler, self.answer(number, heard))
        except OSError:
            self.lost.append(heard)
            handler.close_connection = True
        finally:
            with self._lock:
                self._now -= 1


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    time.sleep(reply.delay)
    body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
    handler.send_response(reply.status)
    streaming = reply.pieces is not None
    defaults = {"Content-Type": "text/event-stream" if streaming else "application/json"}
    defaults |= {"Transfer-Encoding": "chunked"} if streaming else {"Content-Length": str(len(body))}
    for name, value in {**defaults, **reply.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if reply.pieces is None:
        handler.wfile.write(body[: reply.cut])
    else:
        for piece in reply.pieces[: reply.cut]:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(reply.pause)
        if reply.cut is None:
            handler.wfile.write(b"0\r\n\r\n")
    if reply.cut is not None:
        handler.close_connection = True


@contextlib.contextmanager
def scripted(*replies: Reply | Callable[[int, Heard], Reply]) -> Iterator[ScriptedServer]:
    """A server that gives the replies one after the other (the last one for ever), or asks a function."""
    first = replies[0]
    if isinstance(first, Reply):
        server = ScriptedServer(lambda number, _: replies[min(number, len(replies) - 1)])
    else:
        server = ScriptedServer(first)
    try:
        yield server
    finally:
        server.close()


def chat(text: str | None = "好", usage: dict[str, Any] | None = None, **choice: Any) -> dict[str, Any]:
    """What a server says to /v1/chat/completions."""
    message = {"role": "assistant", "content": text, **choice.pop("message", {})}
    usage = usage or {"prompt_tokens": 10, "completion_tokens": 3}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}], "usage": usage}


def events(*objects: Any, done: bool = True) -> list[bytes]:
    """Server-sent events."""
    sent = [f"data: {json.dumps(each, ensure_ascii=False)}\n\n".encode() for each in objects]
    return [*sent, b"data: [DONE]\n\n"] if done else sent


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    said = {**({"content": text} if text is not None else {}), **more}
    return {"choices": [{"index": 0, "delta": said, "finish_reason": finish}]}
