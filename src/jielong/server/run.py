"""Running a server: its socket, its signals, its end."""

import ipaddress
import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn

from jielong.core.errors import JielongError, UsageError
from jielong.server.app import build_app
from jielong.server.gate import Visitors
from jielong.server.served_model import ServedModel
from jielong.server.settings import ServerSettings

KEY_VARIABLE = "JIELONG_API_KEY"


def listen(host: str, port: int) -> socket.socket:
    """Take an address and port for a server; port 0 takes a free one.

    Raises:
        JielongError: if there is no such address here, or the port is not free.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: a port is a number from 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
    except OSError as error:
        raise JielongError(f"cannot serve at {host} port {port}: {error.strerror}") from None
    return taken


def is_loopback(taken: socket.socket) -> bool:
    """Whether only this machine can reach a socket."""
    return ipaddress.ip_address(taken.getsockname()[0].partition("%")[0]).is_loopback


def visitors_of(taken: socket.socket, key: str | None, origins: Sequence[str]) -> Visitors:
    """Who may ask at a socket.

    Raises:
        UsageError: if others can reach the socket and there is no key.
    """
    local = is_loopback(taken)
    if not local and not key:
        raise UsageError(
            f"beyond this machine a server needs a key: set the environment variable {KEY_VARIABLE} "
            "to one that nobody guesses, or leave --host away"
        )
    hosts = {"localhost", "127.0.0.1", "::1", taken.getsockname()[0]} if local else None
    return Visitors(key.encode() if key else None, hosts, frozenset(origins))


def address_of(taken: socket.socket) -> str:
    """The URL of a socket."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    models: Sequence[ServedModel],
    taken: socket.socket,
    visitors: Visitors,
    settings: ServerSettings,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; answers under way may end in time, a second Ctrl-C ends at once.

    Args:
        models: what to serve; their engines are closed at the end.
        taken: the socket, from `listen`; closed at the end.
        visitors: who may ask.
        settings: limits.
        on_start: called when requests can come.
    """
    config = uvicorn.Config(
        build_app(models, settings, visitors),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    server = uvicorn.Server(config)

    def stop(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # Uvicorn has handlers of its own while it runs; when it has ended, it raises what it caught once more.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        taken.listen(1024)
        on_start()
        server.run(sockets=[taken])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        taken.close()
        for model in models:
            model.thread.close()
