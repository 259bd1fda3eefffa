"""Generation for the event loop: requests go to the engine's thread, their steps come back here."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from jielong.core.errors import JielongError
from jielong.generation import EngineThread, Request, Step, Ticket
from jielong.server.errors import ApiError
from jielong.server.limits import Limits
from jielong.server.metrics import Metrics
from jielong.server.served_model import ServedModel
from jielong.server.settings import ServerSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """What the work of one HTTP request is held to and counted with."""

    settings: ServerSettings
    limits: Limits
    metrics: Metrics
    client: str
    """Address of who asked."""
    began: float
    """When the request came, by the event loop's clock."""

    def check_count(self, sequences: int) -> None:
        """Refuse a request for more answers than the server gives at once."""
        if sequences > self.settings.max_sequences:
            raise ApiError(
                400,
                f"{sequences} answers are asked for, and this server gives at most "
                f"{self.settings.max_sequences} at once",
            )

    def count_prompts(self, model: ServedModel, prompts: Sequence[Sequence[int]]) -> None:
        """Note tokens that are read."""
        tokens = sum(map(len, prompts))
        self.metrics.prompt_tokens.add(tokens, model=model.name)
        self.limits.spend(self.client, tokens)

    async def in_time(self, work: Awaitable[T]) -> T:
        """Wait for something else than generation, until the request's time is over."""
        try:
            async with asyncio.timeout_at(self.deadline):
                return await work
        except TimeoutError:
            raise self.too_late() from None

    def too_late(self) -> ApiError:
        """The request's time is over."""
        return ApiError(
            503,
            f"the answer took longer than the {self.settings.request_seconds:g} s that this server gives a "
            "request; ask for less, or again when it is less busy",
            code="timeout",
            retry_after=5,
        )

    @property
    def deadline(self) -> float:
        """When its time is over, by the event loop's clock."""
        return self.began + self.settings.request_seconds


class Generations:
    """Sequences that are generated for one HTTP request.

    Use it as an async context manager and iterate over it once: leaving cancels whatever has not ended, so a
    client that went away frees its places.

    Raises:
        ApiError: at entry, if they are too many or too long for the server's limits or its queue is full;
            during iteration, if their time is over, one of them fails on the way or the server shuts down.
        JielongError: at entry, if the engine cannot serve one of them.
    """

    def __init__(self, model: ServedModel, requests: Sequence[Request], desk: Desk):
        self._model = model
        self._requests = requests
        self._desk = desk
        self._loop = asyncio.get_running_loop()
        self._arrived: deque[tuple[int, Step | Exception]] = deque()
        self._bell = asyncio.Event()
        self._rung = False
        self._tickets: list[Ticket] = []
        self._open = set(range(len(requests)))

    async def __aenter__(self) -> Self:
        self._check()
        thread: EngineThread = self._model.thread
        for index, request in enumerate(self._requests):
            self._tickets.append(thread.submit(request, partial(self._deliver, index)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for index in self._open:
            self._tickets[index].cancel()
            self._desk.metrics.cancelled.add(model=self._model.name)

    async def __aiter__(self) -> AsyncIterator[tuple[int, list[Step]]]:
        """Give (index of the request, its next steps): all that have come since it was last asked."""
        alarm = self._loop.call_at(self._desk.deadline, self._bell.set)
        told: dict[int, float] = {}
        try:
            while self._open:
                await self._bell.wait()
                self._bell.clear()
                for index, steps in self._take().items():
                    self._count(told, index, steps)
                    yield index, steps
                if self._open and self._loop.time() >= self._desk.deadline:
                    raise self._desk.too_late()
        finally:
            alarm.cancel()

    def cached_tokens(self, index: int) -> int:
        """How many tokens of a prompt were not computed, since they were known; 0 before its first step."""
        generation = self._tickets[index].generation
        return 0 if generation is None else generation.cached_tokens

    def stopped_by(self, index: int) -> str | None:
        """The stop string that ended an answer, if one did."""
        generation = self._tickets[index].generation
        return None if generation is None else generation.stopped_by

    def _check(self) -> None:
        settings, waiting = self._desk.settings, self._model.thread.waiting
        count = len(self._requests)
        self._desk.check_count(count)
        for request in self._requests:
            self._model.check_length(request.prompt)
            self._model.engine.check(request)
        context = self._model.engine.context_length
        tokens = sum(
            min(len(request.prompt) + request.settings.max_tokens, context) for request in self._requests
        )
        if tokens > settings.max_request_tokens:
            raise ApiError(
                400,
                f"prompts and answers may have {tokens} tokens together, and this server gives one request "
                f"{settings.max_request_tokens}; lower max_tokens or n",
            )
        if waiting + count > settings.max_queue:
            raise ApiError(
                503, f"{waiting} answers are waiting for {self._model.name}; try again soon", retry_after=2
            )

    def _deliver(self, index: int, step: Step | Exception) -> None:
        """Called in the engine's thread; wakes the event loop once for all that comes until it looks."""
        self._arrived.append((index, step))
        if not self._rung:
            self._rung = True
            try:
                self._loop.call_soon_threadsafe(self._ring)
            except RuntimeError:  # the loop was closed by force
                return

    def _ring(self) -> None:
        self._rung = False
        self._bell.set()

    def _take(self) -> dict[int, list[Step]]:
        taken: dict[int, list[Step]] = {}
        while self._arrived:
            index, step = self._arrived.popleft()
            if isinstance(step, JielongError):  # the request was let in: it is not what is wrong
                raise ApiError(500, f"the answer could not be gone on with: {step}") from step
            if isinstance(step, Exception):
                raise step
            taken.setdefault(index, []).append(step)
            if step.finish_reason == "cancelled":
                raise ApiError(503, "the server is shutting down", retry_after=5)
            if step.finish_reason is not None:
                self._open.discard(index)
        return taken

    def _count(self, told: dict[int, float], index: int, steps: list[Step]) -> None:
        desk, model, now = self._desk, self._model.name, self._loop.time()
        desk.metrics.generated_tokens.add(len(steps), model=model)
        desk.limits.spend(desk.client, len(steps))
        if index in told:
            desk.metrics.next_token.observe((now - told[index]) / len(steps), len(steps), model=model)
        else:
            desk.metrics.first_token.observe(now - desk.began, model=model)
        told[index] = now


def unix_time() -> int:
    """Seconds since 1970, as OpenAI's `created` fields have them."""
    return int(time.time())
