"""Learning-rate schedules as pure functions of the step."""

import math
from collections.abc import Sequence
from itertools import pairwise

from jielong.training.settings import ScheduleSettings

Plans = Sequence[tuple[int, int]]
"""How long a run is, as (step, total): before that step it was planned to take `total` steps in all.

Most runs have one plan. One with a time budget has none until its decay begins, and may then change it.
"""


def planned_total(step: int, plans: Plans) -> int | None:
    """Steps of the whole run as planned when `step` is about to be taken; None where nothing is planned."""
    return next((total for at, total in reversed(plans) if at <= step), plans[0][1] if plans else None)


def learning_rate_factor(step: int, plans: Plans, settings: ScheduleSettings) -> float:
    """Share of the peak rate at a step: warm-up, level, decay (WSD; arXiv 2404.06395, section 4).

    Args:
        step: 0-based step that is about to be taken.
        plans: the length of the run; without any the decay is far away, wherever it will be.
        settings: length of the rise and the fall, and the floor.
    """
    rise = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    share = decay_share(step, plans, settings)
    if share == 0:
        return rise
    if settings.kind == "cosine":
        fall = settings.floor + (1 - settings.floor) * 0.5 * (1 + math.cos(math.pi * share))
    else:
        fall = 1.0 - (1 - settings.floor) * share
    return min(rise, fall)


def decay_share(step: int, plans: Plans, settings: ScheduleSettings) -> float:
    """How much of the decay is over after a step: 0 before it begins, 1 at the end.

    It grows evenly to 1 at the planned end. A later plan changes the pace from where the decay stands, so the
    rate never jumps.
    """
    if not plans or decay_steps(plans[0][1], settings) == 0:
        return 0.0
    start, share = decay_begins(plans, settings), 0.0
    if step < start:
        return share
    total = plans[0][1]
    for (_, total), (until, _) in pairwise(plans):
        if step < until:
            break
        share += (1 - share) * (until - start) / (total - start)
        start = until
    else:
        total = plans[-1][1]
    return min(1.0, share + (1 - share) * (step + 1 - start) / (total - start))


def decay_begins(plans: Plans, settings: ScheduleSettings) -> int:
    """The first step of the decay, which the first plan fixes."""
    total = plans[0][1]
    return total - decay_steps(total, settings)


def decay_steps(total: int, settings: ScheduleSettings) -> int:
    """How many of the last steps the rate falls in."""
    return 0 if settings.kind == "constant" else round(settings.decay * total)


def total_when_decay_begins(step: int, settings: ScheduleSettings) -> int:
    """The smallest number of steps whose decay begins at `step` or later.

    A run with a time budget is planned with it in the moment its decay must begin; a run told that length
    from the start takes the very same steps.
    """
    total = max(step, 1)
    while total - decay_steps(total, settings) < step or total <= step:
        total += 1
    return total
