"""Ctrl-C and SIGTERM ask a run to stop after the step it is in."""

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self

from jielong.core.errors import JielongError

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_NOTICE = (
    b"\nstopping: the step under way is finished and saved; Ctrl-C again stops at once, without saving\n"
)


class TrainingStoppedError(JielongError):
    """The user asked the run to stop; a checkpoint was written."""


class InterruptGuard:
    """While active, a first SIGINT, SIGTERM or SIGHUP only sets `requested`; a second SIGINT stops at once.

    A signal that is ignored stays ignored, as SIGHUP under nohup.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in _SIGNALS:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            try:
                self._previous[number] = signal.signal(number, self._handle)
            except ValueError:  # not in the main thread: the caller's own handling stays
                return self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.requested:
            # A step may take long where it compiles. Not print: the signal may come in the middle of one.
            with contextlib.suppress(OSError):  # the terminal may be gone
                os.write(2, _NOTICE)
        self.requested = True
