"""Contestants in processes of their own that take turns: each runs a few steps when it is told to.

So all of them are measured on the machine as it is in the same minutes, each with its own memory and its own
compiled code. A worker calls `Turns.step()` after every step, and the first one (which compiles) is in no
turn; the parent says how many steps to take and reads what they took.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self


class Finished(Exception):  # noqa: N818  (no error: the parent needs no more steps)
    """The parent has closed the pipe."""


class Turns:
    """The worker's side: waits for its turn, and reports when its steps are done."""

    def __init__(self) -> None:
        self._left = 0
        self._steps = 0
        self._began = self._cpu = 0.0

    def step(self) -> None:
        """Count a step that was just taken; at the end of a turn report it and wait for the next.

        Raises:
            Finished: there is no next turn.
        """
        self._left -= 1
        if self._left > 0:
            return
        if self._steps:
            self._say(
                seconds=time.perf_counter() - self._began,
                cpu_seconds=time.process_time() - self._cpu,
                steps=self._steps,
                peak_bytes=peak_bytes(),
            )
        line = sys.stdin.readline()
        if not line.strip():
            raise Finished
        self._steps = self._left = int(line)
        self._began, self._cpu = time.perf_counter(), time.process_time()

    @staticmethod
    def _say(**values: Any) -> None:
        print("turn " + json.dumps(values), flush=True)


def peak_bytes() -> int:
    """The most memory that this process has held (resident)."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


@dataclass
class Worker:
    """The parent's side of one contestant."""

    name: str
    process: subprocess.Popen[str]

    @classmethod
    def start(cls, name: str, command: Sequence[str]) -> Self:
        """Start Python with these arguments; what it prints beside its turns is dropped."""
        process = subprocess.Popen(
            [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return cls(name, process)

    def turn(self, steps: int) -> dict[str, Any]:
        """Let it run some steps; returns seconds, cpu_seconds, steps and peak_bytes."""
        assert self.process.stdin is not None  # noqa: S101
        assert self.process.stdout is not None  # noqa: S101
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("turn "):
                return dict(json.loads(line.removeprefix("turn ")))
        raise SystemExit(f"{self.name} ended with status {self.process.wait()} before its turn was over")

    def stop(self) -> None:
        """End it."""
        assert self.process.stdin is not None  # noqa: S101
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
