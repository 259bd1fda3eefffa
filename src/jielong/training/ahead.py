"""The next batch is made ready while the step runs."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Ahead(Generic[Made]):
    """Gives make(n), and works at make(n + 1) in the background until it is asked for.

    `make` must be a pure function; then the results are the same as without this. An error in it is raised
    by `take`.

    Args:
        make: gives the n-th of them.
        wanted: whether to work ahead; else `take` makes what it is asked for.
    """

    def __init__(self, make: Callable[[int], Made], wanted: bool = True) -> None:
        self._make = make
        self._wanted = wanted
        self._worker = ThreadPoolExecutor(1, "next-batch")
        self._number = -1
        self._future: Future[Made] | None = None

    def take(self, number: int) -> Made:
        """What `make(number)` gives."""
        if not self._wanted:
            return self._make(number)
        expected = self._future is not None and self._number == number
        future = self._future if expected else self._worker.submit(self._make, number)
        assert future is not None  # noqa: S101  (for the type checker)
        self._number = number + 1
        self._future = self._worker.submit(self._make, number + 1)
        return future.result()

    def close(self) -> None:
        """Stop working ahead."""
        self._worker.shutdown(cancel_futures=True)
