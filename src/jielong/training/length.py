"""How many steps a run takes: told by the settings, or planned by the clock."""

import math

from jielong.core.errors import JielongError, UsageError
from jielong.training.distributed import any_process, from_one
from jielong.training.pace import Pace
from jielong.training.schedule import Plans, decay_begins, decay_steps, total_when_decay_begins
from jielong.training.settings import TrainingSettings

_TOLERANCE = 0.01  # of the time budget, by which a run may be expected to end too early or too late
_LOOK_SHARE = 8  # the clock is looked at after this part of the steps, or of the time, that was left
_FEWEST_STEPS = 8  # between two looks: fewer say little about speed


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


def first_plans(settings: TrainingSettings, most: int | None) -> Plans:
    """What is planned when a run begins: nothing where the clock will decide.

    Raises:
        UsageError: settings.plans do not fit together, or not to settings.steps.
    """
    plans = settings.plans
    if plans:
        moments = [decay_begins(plans, settings.schedule), *(at for at, _ in plans[1:])]
        ends = [end for _, end in plans]
        fit = moments == sorted(moments) and all(at < end for at, end in zip(moments, ends, strict=True))
        if not fit or ends[-1] != settings.steps:
            raise UsageError(
                "training.plans do not fit training.steps and the schedule; leave plans out to change these"
            )
        return plans
    return () if settings.minutes is not None or most is None else ((0, most),)


class LengthPlanner:
    """Plans the length of a run with a time budget when its decay must begin, and keeps to the time then.

    Args:
        settings: of the run.
        most: steps that other limits allow; None without such limits.
        pace: the clock of the run.
        step: steps taken so far.
    """

    def __init__(self, settings: TrainingSettings, most: int | None, pace: Pace, step: int) -> None:
        self._settings = settings
        self._most = most
        self._pace = pace
        self._looked_at = (step, pace.working_seconds)
        self._seconds_per_step: float | None = None

    def plan(self, step: int, plans: Plans) -> Plans:
        """The plans as they are from a step on; every process must ask.

        Args:
            step: 0-based step that is about to be taken.
            plans: made so far.
        """
        schedule = self._settings.schedule
        if not plans:
            if not any_process(self._decay_must_begin(step)):
                return plans
            self._look(step, self._pace.seconds_per_step)
            return ((step, total_when_decay_begins(step, schedule)),)
        total = plans[-1][1]
        if self._settings.minutes is None or not any_process(self._look_is_due(step, total)):
            return plans
        fitting = int(from_one(str(self._fitting_total(step, total))))
        return plans if fitting == total else (*plans, (step, fitting))

    def _decay_must_begin(self, step: int) -> bool:
        """Whether the steps or the time left are what the decay will need at the present speed."""
        schedule, pace = self._settings.schedule, self._pace
        if self._most is not None and total_when_decay_begins(step + 1, schedule) > self._most:
            return True
        if pace.steps < 3:
            return False
        to_come = decay_steps(total_when_decay_begins(step, schedule), schedule)
        return pace.seconds_left <= to_come * pace.seconds_per_step

    def _look_is_due(self, step: int, total: int) -> bool:
        """Whether enough steps, or on a machine that has become slow enough time, went by since then."""
        at, seconds = self._looked_at
        if step - at < _FEWEST_STEPS or total - step < _FEWEST_STEPS:
            return False
        waited = self._pace.working_seconds - seconds
        return step - at >= (total - at) // _LOOK_SHARE or waited >= self._pace.seconds_left / _LOOK_SHARE

    def _fitting_total(self, step: int, total: int) -> int:
        """The number of steps that ends in time at the speed since the clock was last looked at.

        A plan at most halves or doubles the steps that were left, so that a hiccup does not end the decay.
        """
        at, seconds = self._looked_at
        measured = (self._pace.working_seconds - seconds) / (step - at)
        before = self._seconds_per_step
        speed = measured if before is None else (before + measured) / 2
        self._look(step, speed)
        left, time_left = total - step, self._pace.seconds_left
        if abs(time_left - left * speed) <= _TOLERANCE * self._pace.budget:
            return total
        fitting = step + min(max(round(time_left / speed), left // 2, 1), 2 * left)
        return fitting if self._most is None else min(fitting, self._most)

    def _look(self, step: int, seconds_per_step: float) -> None:
        self._looked_at = (step, self._pace.working_seconds)
        self._seconds_per_step = seconds_per_step
