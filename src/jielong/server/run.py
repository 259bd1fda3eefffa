"""Running a server: its signals, its end."""

import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn

from jielong.server.app import build_app
from jielong.server.served_model import ServedModel
from jielong.server.settings import ServerSettings
from jielong.server.visitors import Visitors


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
