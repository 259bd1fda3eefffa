import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.training.pace import Pace
from jielong.training.schedule import (
    decay_begins,
    decay_share,
    decay_steps,
    learning_rate_factor,
    planned_total,
    total_when_decay_begins,
)
from jielong.training.settings import ScheduleSettings, TrainingSettings

schedules = st.builds(
    ScheduleSettings,
    kind=st.sampled_from(["linear", "cosine"]),
    warmup=st.integers(0, 50),
    decay=st.floats(0, 0.95),
    floor=st.floats(0, 1),
)


@given(schedules, st.integers(1, 400))
def test_the_rate_rises_stays_and_falls_within_its_bounds(schedule, total):
    rates = [learning_rate_factor(step, [(0, total)], schedule) for step in range(total)]
    assert all(0 <= rate <= 1 for rate in rates)
    peak = rates.index(max(rates))
    assert rates[:peak] == sorted(rates[:peak])
    falling = rates[peak:]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_the_last_step_is_at_the_floor(kind):
    schedule = ScheduleSettings(kind=kind, warmup=5, decay=0.5, floor=0.1)
    assert learning_rate_factor(99, [(0, 100)], schedule) == pytest.approx(0.1)
    assert learning_rate_factor(0, [(0, 100)], schedule) == pytest.approx(1 / 5)
    assert learning_rate_factor(30, [(0, 100)], schedule) == 1.0


@given(schedules, st.integers(0, 300))
def test_a_length_fixed_late_takes_the_same_steps_as_one_known_from_the_start(schedule, step):
    total = total_when_decay_begins(step, schedule)
    assert total > step
    for earlier in range(step):
        assert learning_rate_factor(earlier, [(step, total)], schedule) == learning_rate_factor(
            earlier, [], schedule
        )
    assert total - decay_steps(total, schedule) >= step


@st.composite
def changed_plans(draw, schedule):
    """Plans that a clock might make: each somewhere in the decay, with any number of steps left."""
    step = draw(st.integers(0, 100))
    plans = [(step, total_when_decay_begins(step, schedule))]
    for _ in range(draw(st.integers(0, 4))):
        earliest = max(plans[-1][0] + 1, decay_begins(plans[:1], schedule))
        if earliest >= plans[-1][1]:
            break
        at = draw(st.integers(earliest, plans[-1][1] - 1))
        plans.append((at, at + draw(st.integers(1, 80))))
    return plans


@given(st.data())
def test_a_plan_that_changes_in_the_decay_never_lets_the_rate_jump(data):
    schedule = data.draw(schedules)
    plans = data.draw(changed_plans(schedule))
    total = plans[-1][1]
    shares = [0.0, *(decay_share(step, plans, schedule) for step in range(total))]
    assert shares == sorted(shares)
    if shares[-1]:
        assert shares[-1] == pytest.approx(1.0)
    for step in range(total):
        # A step's part of what is left of the decay is one of the steps that were left.
        left = planned_total(step, plans) - step
        moved = shares[step + 1] - shares[step]
        assert moved <= (1 - shares[step]) / left + 1e-9
    for step in range(total):
        known = [plan for plan in plans if plan[0] <= step] or plans[:1]
        assert learning_rate_factor(step, known, schedule) == learning_rate_factor(step, plans, schedule)


def test_a_constant_rate_never_falls():
    schedule = ScheduleSettings(kind="constant", warmup=0)
    assert {learning_rate_factor(step, [(0, 50)], schedule) for step in range(50)} == {1.0}


def test_a_short_disturbance_does_not_shorten_a_timed_run_much():
    pace = Pace(TrainingSettings(minutes=10), spent=0.0)
    for _ in range(160):
        pace.count_step(1.0, compiled=False)
    for _ in range(20):
        pace.count_step(4.0, compiled=False)
    assert pace.seconds_per_step < 2.0
