"""Work on many items in threads, results as they come."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Item, threading.Event], Result], items: Sequence[Item], most: int
) -> Iterator[tuple[int, Result]]:
    """Do the work for each item, `most` of them at the same time.

    After a failure nothing new is begun, what is under way is still waited for and given, and then the first
    failure is raised. The threads are daemons: a program that is interrupted does not wait for a slow server.

    Args:
        work: called with an item, and an event that is set when the work is no longer wanted.
        items: in the order in which they are begun.
        most: items at a time.

    Yields:
        An item's place and its result, in the order in which they are done.
    """
    stopped = threading.Event()
    waiting = iter(enumerate(items))
    drawing = threading.Lock()
    ended: queue.SimpleQueue[tuple[int, Result] | BaseException | None] = queue.SimpleQueue()

    def run() -> None:
        while not stopped.is_set():
            with drawing:
                drawn = next(waiting, None)
            if drawn is None:
                break
            try:
                ended.put((drawn[0], work(drawn[1], stopped)))
            except BaseException as error:
                stopped.set()
                ended.put(error)
        ended.put(None)

    running = min(most, len(items))
    for _ in range(running):
        threading.Thread(target=run, daemon=True).start()
    failure: BaseException | None = None
    try:
        while running:
            result = ended.get()
            if result is None:
                running -= 1
            elif isinstance(result, BaseException):
                failure = failure or result
            else:
                yield result
    finally:
        stopped.set()
    if failure is not None:
        raise failure
