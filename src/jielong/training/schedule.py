"""Learning-rate schedules as pure functions of the step."""

import math

from jielong.training.settings import ScheduleSettings


def learning_rate_factor(step: int, total: int, settings: ScheduleSettings) -> float:
    """Share of the peak rate at a step: warm-up, level, decay (WSD; arXiv 2404.06395, section 4).

    Args:
        step: 0-based step that is about to be taken.
        total: all steps of the run.
        settings: length of the rise and the fall, and the floor.
    """
    rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    return min(rise, _fall(step, total, settings))


def _fall(step: int, total: int, settings: ScheduleSettings) -> float:
    decay = decay_steps(total, settings)
    into_decay = step - (total - decay)
    if decay == 0 or into_decay < 0:
        return 1.0
    share = min(1.0, (into_decay + 1) / decay)
    if settings.kind == "cosine":
        return settings.floor + (1 - settings.floor) * 0.5 * (1 + math.cos(math.pi * share))
    return 1.0 - (1 - settings.floor) * share


def decay_steps(total: int, settings: ScheduleSettings) -> int:
    """How many of the last steps the rate falls in."""
    return 0 if settings.kind == "constant" else round(settings.decay * total)


def total_when_decay_begins(step: int, settings: ScheduleSettings) -> int:
    """The smallest number of steps whose decay begins at `step` or later.

    A run with a time budget calls this in the moment its decay must begin: from then on its length is fixed,
    and a run told that length from the start takes the very same steps.
    """
    total = max(step, 1)
    while total - decay_steps(total, settings) < step or total <= step:
        total += 1
    return total
