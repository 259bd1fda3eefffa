"""An engine in a thread of its own, for many clients at once."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from jielong.core.errors import JielongError
from jielong.generation.engine import Engine
from jielong.generation.request import Request, Step
from jielong.generation.running import Generation

T = TypeVar("T")
Deliver = Callable[[Step | Exception], None]


class Ticket:
    """A request that was handed in."""

    def __init__(self, request: Request, deliver: Deliver) -> None:
        self.request = request
        self.deliver = deliver
        self.generation: Generation | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """End it before its next token, from any thread; a last Step that says `cancelled` still comes."""
        self.cancelled = True
        if self.generation is not None:
            self.generation.cancel()


class EngineThread:
    """Runs an engine's steps as long as there is anything to do; requests come from any thread.

    Args:
        engine: no other thread may use it from now on.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._tickets: list[Ticket] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Answers that are decoding."""
        return self._engine.running

    @property
    def waiting(self) -> int:
        """Requests that do not decode yet."""
        return max(0, len(self._tickets) - self._engine.running)

    def submit(self, request: Request, deliver: Deliver) -> Ticket:
        """Hand in a request.

        Args:
            request: refused by `engine.check` in the caller's thread, so that errors come at once.
            deliver: called in the engine's thread with every Step; the last has a finish_reason. An exception
                instead of a last Step means that the engine or the request's grammar failed. It must return
                quickly.

        Raises:
            JielongError: if the request cannot be served, or the engine is closing.
        """
        self._engine.check(request)
        ticket = Ticket(request, deliver)
        self._post(lambda: self._begin(ticket))
        return ticket

    def call(self, function: Callable[[Engine], T]) -> Future[T]:
        """Run a function between two steps, in the engine's thread.

        Raises:
            JielongError: if the engine is closing.
        """
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(self._engine))
                except Exception as error:
                    future.set_exception(error)

        self._post(work)
        return future

    def close(self, drain_seconds: float = 0.0) -> None:
        """Take nothing more, let what runs go on for so many seconds, then cancel it and end the thread."""
        self._closing = True
        self._inbox.put(None)
        self._thread.join(drain_seconds)
        for ticket in list(self._tickets):
            ticket.cancel()
        self._thread.join()

    def _post(self, work: Callable[[], None]) -> None:
        if self._closing:
            raise JielongError("the engine is closing; it takes no more requests")
        self._inbox.put(work)

    def _run(self) -> None:
        while not self._closing or self._tickets or not self._inbox.empty():
            with suppress(queue.Empty):
                # Without anything to decode, the thread sleeps until somebody wants something.
                while True:
                    work = self._inbox.get(block=not self._tickets and not self._closing)
                    if work is not None:
                        work()
            if self._tickets:
                self._step()

    def _begin(self, ticket: Ticket) -> None:
        try:
            ticket.generation = self._engine.add(ticket.request)
        except Exception as error:
            ticket.deliver(error)
            return
        if ticket.cancelled:
            ticket.generation.cancel()
        self._tickets.append(ticket)

    def _step(self) -> None:
        try:
            self._engine.step()
        except Exception as error:
            self._engine.clear()
            failed, self._tickets = self._tickets, []
            for ticket in failed:
                ticket.deliver(error)
            return
        for ticket in list(self._tickets):
            generation = ticket.generation
            assert generation is not None  # noqa: S101 - set where it was added
            parts: list[Step | Exception] = list(generation.take())
            if generation.error is not None:
                parts.append(generation.error)
            for part in parts:
                ticket.deliver(part)
            if generation.finish_reason is not None:
                self._tickets.remove(ticket)
