"""How much of the server a client, and all clients together, may have at a time."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

from jielong.server.errors import ApiError
from jielong.server.settings import ServerSettings


class Limits:
    """Counts requests under way and tokens used; used by the event loop's thread only.

    Tokens are paid afterwards: a client with a debt waits until a minute's share has paid it.
    """

    def __init__(self, settings: ServerSettings, clock: Callable[[], float] = time.monotonic):
        self._settings = settings
        self._clock = clock
        self._requests: Counter[str] = Counter()
        self._total = 0
        self._debts: dict[str, tuple[float, float]] = {}
        """Client -> (tokens it used beyond its share, when that was so)."""

    @contextlib.contextmanager
    def request(self, client: str) -> Iterator[None]:
        """One request of a client, from its first byte to its last.

        Raises:
            ApiError: 503 if the server has too many, 429 if the client has or if it is in debt.
        """
        if self._total >= self._settings.max_requests:
            raise ApiError(
                503, f"the server is answering {self._total} requests already; try again soon", retry_after=1
            )
        if self._requests[client] >= self._settings.max_client_requests:
            raise ApiError(
                429,
                f"you have {self._requests[client]} requests under way, as many as one client may have",
                code="rate_limit_exceeded",
                retry_after=1,
            )
        if (wait := self._seconds_in_debt(client)) > 0:
            raise ApiError(
                429,
                f"you have used your {self._settings.client_tokens_per_minute} tokens a minute; "
                f"try again in {wait:.0f} s",
                code="rate_limit_exceeded",
                retry_after=wait,
            )
        self._requests[client] += 1
        self._total += 1
        try:
            yield
        finally:
            self._total -= 1
            self._requests[client] -= 1
            if not self._requests[client]:
                del self._requests[client]

    def spend(self, client: str, tokens: int) -> None:
        """Note that a client's request has used tokens."""
        rate = self._settings.client_tokens_per_minute / 60
        if not rate:
            return
        now = self._clock()
        debt, since = self._debts.get(client, (-60 * rate, now))
        self._debts[client] = (max(debt - (now - since) * rate, -60 * rate) + tokens, now)
        if len(self._debts) > 10_000:  # who has paid everything need not be remembered
            self._debts = {
                name: (owed, then)
                for name, (owed, then) in self._debts.items()
                if owed - (now - then) * rate > -60 * rate
            }

    def _seconds_in_debt(self, client: str) -> float:
        if client not in self._debts:
            return 0.0
        debt, since = self._debts[client]
        return debt / (self._settings.client_tokens_per_minute / 60) - (self._clock() - since)
