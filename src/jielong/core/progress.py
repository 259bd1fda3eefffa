"""Progress on standard error, so that standard output stays for results."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.text import Text

Item = TypeVar("Item")

_SECONDS_BEFORE_SHOWING = 2.0
_SECONDS_BETWEEN_LINES = 15.0  # where there is no terminal to redraw, one line now and then


def console() -> Console:
    """The console that progress and notices are written to; of torchrun's processes only the first speaks."""
    speaks = os.environ.get("RANK", "0") == "0"
    return Console(stderr=True, highlight=False, soft_wrap=True, quiet=not speaks)


def format_seconds(seconds: float) -> str:
    """A duration as a person reads it: `42s`, `3m10s`, `1h05m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


class ProgressLine:
    """One line that is redrawn on a terminal, and printed now and then elsewhere.

    Nothing is shown for work that ends within two seconds.
    """

    def __init__(self, title: str, total: float | None = None, quiet: bool = False) -> None:
        self.title = title
        self.total = total
        self._console = console()
        self._quiet = quiet
        self._started = time.monotonic()
        self._shown_at = 0.0
        self._drawn = False

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._started

    def show(self, done: float, detail: str = "", eta: float | None = None) -> None:
        """Say how far the work is; `eta` overrides the seconds left that the rate so far suggests."""
        now = time.monotonic()
        pause = 0.1 if self._console.is_terminal else _SECONDS_BETWEEN_LINES
        if self._quiet or self.seconds < _SECONDS_BEFORE_SHOWING or now - self._shown_at < pause:
            return
        self._shown_at = now
        parts = [self.title]
        if self.total:
            share = min(1.0, done / self.total)
            filled = round(share * 20)
            parts.append(f"{'━' * filled}{'╌' * (20 - filled)} {share:4.0%}")
            if eta is None and done > 0:
                eta = self.seconds / done * (self.total - done)
        if detail:
            parts.append(detail)
        if eta is not None:
            parts.append(f"ETA {format_seconds(eta)}")
        self._draw("  ".join(parts))

    def close(self) -> None:
        """End the line, so that what is printed next starts on a fresh one."""
        if self._drawn and self._console.is_terminal:
            sys.stderr.write("\n")
            sys.stderr.flush()
        self._drawn = False

    def _draw(self, line: str) -> None:
        text = Text(line, no_wrap=True, overflow="ellipsis")
        if self._console.is_terminal:
            text.truncate(self._console.width - 1, pad=True)
            self._console.print(text, end="\r")
        else:
            self._console.print(text, soft_wrap=True)
        self._drawn = True


def track(items: Iterable[Item], title: str, total: int | None = None, quiet: bool = False) -> Iterator[Item]:
    """Pass the items on while showing how many are done."""
    line = ProgressLine(title, total, quiet)
    try:
        for number, item in enumerate(items, 1):
            yield item
            line.show(number, f"{number:,}" + (f" of {total:,}" if total else ""))
    finally:
        line.close()
