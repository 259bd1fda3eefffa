"""How fast a run goes, and how much of its time is left."""

import time
from collections.abc import Callable

from jielong.training.settings import TrainingSettings

_WINDOW = 40  # steps at least whose speed predicts the rest
_CHECKPOINT_SECONDS = 60.0  # between two checkpoints, at least
_CHECKPOINT_SHARE = 0.01  # of the time that checkpoints may take


class Pace:
    """The clock of a run.

    Args:
        settings: length of the run and its schedule.
        spent: seconds that the run took before it was resumed.
        clock: gives seconds.
    """

    def __init__(
        self, settings: TrainingSettings, spent: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.budget = float("inf") if settings.minutes is None else settings.minutes * 60
        """Seconds that the run may take."""
        self._started = clock() - spent
        self._steps: list[float] = []
        self.compile_seconds = 0.0
        self.checkpoints = 0
        """Checkpoints that this process has written."""
        self.checkpoint_seconds = 0.0
        """Time that they took, all together."""
        self._last_checkpoint = 0.0
        self._checkpoint_at = self._clock()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._started

    @property
    def seconds_per_step(self) -> float:
        """Mean of the second half of the steps: half a minute of somebody else's work must not count much.

        Until a second step is done, all that is known is the one that compiled.
        """
        recent = self._steps[-max(_WINDOW, len(self._steps) // 2) :] or [self.compile_seconds]
        return sum(recent) / len(recent)

    @property
    def seconds_left(self) -> float:
        """Seconds of the time budget that are left; infinite without one."""
        return self.budget - self.seconds

    @property
    def working_seconds(self) -> float:
        """Seconds since the run began, without those in which a step was compiled."""
        return self.seconds - self.compile_seconds

    @property
    def steps(self) -> int:
        """Steps by which the speed is known."""
        return len(self._steps)

    def count_step(self, seconds: float, compiled: bool) -> None:
        """Take in a step; the first one that is compiled says nothing about speed."""
        if compiled and self.compile_seconds == 0.0:
            self.compile_seconds = seconds
        else:
            self._steps.append(seconds)

    def count_checkpoint(self, seconds: float) -> None:
        """Take in the time that a checkpoint took."""
        self.checkpoints += 1
        self.checkpoint_seconds += seconds
        self._last_checkpoint = seconds
        self._checkpoint_at = self._clock()

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether a minute has passed since the last checkpoint, or more where they take long to write."""
        pause = max(_CHECKPOINT_SECONDS, self._last_checkpoint / _CHECKPOINT_SHARE)
        return self._clock() - self._checkpoint_at >= pause
