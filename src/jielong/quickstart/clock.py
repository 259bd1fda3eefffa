"""Keeping to the minutes that were promised."""

import contextlib
import time
from collections.abc import Iterator


class StageClock:
    """Notes how long each stage took and how much of the budget is left."""

    def __init__(self, budget: float) -> None:
        self._started = time.monotonic()
        self._budget = budget
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block under a name."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def left(self) -> float:
        """Seconds of the budget that are left; negative when it is overrun."""
        return self._budget - self.spent
