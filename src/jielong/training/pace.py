"""How fast a run goes, and when a time budget asks for its end to begin."""

import math
import time

from jielong.core.errors import JielongError
from jielong.training.schedule import decay_steps, total_when_decay_begins
from jielong.training.settings import TrainingSettings

_WINDOW = 40  # steps at least whose speed predicts the rest
_CHECKPOINT_SECONDS = 60.0  # between two checkpoints, at least
_CHECKPOINT_SHARE = 0.01  # of the time that checkpoints may take


def most_steps(settings: TrainingSettings, per_epoch: int) -> int | None:
    """The steps that settings.steps and settings.epochs allow; None where only the time is limited.

    Args:
        settings: of the run.
        per_epoch: micro-batches in one pass over the data.
    """
    limits = [settings.steps] if settings.steps is not None else []
    if settings.epochs is not None:
        limits.append(max(1, math.ceil(settings.epochs * per_epoch / settings.accumulate)))
    if not limits and settings.minutes is None:
        raise JielongError("training needs steps, epochs or minutes")
    return min(limits, default=None)


class Pace:
    """The clock of a run.

    Args:
        settings: length of the run and its schedule.
        spent: seconds that the run took before it was resumed.
    """

    def __init__(self, settings: TrainingSettings, spent: float) -> None:
        self._settings = settings
        self._started = time.monotonic() - spent
        self._steps: list[float] = []
        self.compile_seconds = 0.0
        self.checkpoints = 0
        """Checkpoints that this process has written."""
        self.checkpoint_seconds = 0.0
        """Time that they took, all together."""
        self._last_checkpoint = 0.0
        self._checkpoint_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

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
        minutes = self._settings.minutes
        return float("inf") if minutes is None else minutes * 60 - self.seconds

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
        self._checkpoint_at = time.monotonic()

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether a minute has passed since the last checkpoint, or more where they take long to write."""
        pause = max(_CHECKPOINT_SECONDS, self._last_checkpoint / _CHECKPOINT_SHARE)
        return time.monotonic() - self._checkpoint_at >= pause

    def decay_must_begin(self, step: int, most_steps: int | None) -> bool:
        """Whether the steps or the time left are what the decay will need at the present speed.

        Args:
            step: 0-based step that is about to be taken.
            most_steps: steps that other limits allow; None without such limits.
        """
        schedule = self._settings.schedule
        if most_steps is not None and total_when_decay_begins(step + 1, schedule) > most_steps:
            return True
        if len(self._steps) < 3:
            return False
        to_come = decay_steps(total_when_decay_begins(step, schedule), schedule)
        return self.seconds_left <= to_come * self.seconds_per_step
