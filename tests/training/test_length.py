"""A run ends in its time, whatever its machine does meanwhile; and what was decided can be done again."""

import time

import pytest
import yaml
from finished import assert_equal_weights
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jielong.core.errors import UsageError
from jielong.training import stage
from jielong.training.length import LengthPlanner, first_plans
from jielong.training.pace import Pace
from jielong.training.pretrain import run_pretraining
from jielong.training.settings import PretrainSettings, TrainingSettings


def plans_of(seconds_of_step, minutes=2.0, **training):
    """Plans and seconds of a run whose n-th step takes seconds_of_step(n, seconds so far)."""
    parsed = TrainingSettings.parse({"minutes": minutes, **training})
    now = [0.0]
    pace = Pace(parsed, spent=0.0, clock=lambda: now[0])
    planner = LengthPlanner(parsed, None, pace, 0)
    plans, step = (), 0
    while True:
        plans = planner.plan(step, plans)
        if plans and step >= plans[-1][1]:
            return plans, now[0]
        seconds = seconds_of_step(step, now[0])
        now[0] += seconds
        pace.count_step(seconds, compiled=False)
        step += 1


def test_an_even_machine_needs_one_plan():
    plans, seconds = plans_of(lambda *_: 0.1)
    assert len(plans) == 1
    assert seconds == pytest.approx(120, rel=0.01)


@settings(max_examples=40)
@example(speeds=[0.5, 3.0], at=0.5, between=0.125, step_seconds=0.5, decay=0.5)
@given(
    speeds=st.lists(st.floats(0.5, 2), min_size=1, max_size=3),
    at=st.floats(0.3, 0.8),
    between=st.floats(0.05, 0.2),
    step_seconds=st.floats(0.1, 0.4),
    decay=st.floats(0.2, 0.8),
)
def test_a_machine_whose_speed_changes_in_the_middle_ends_in_time(speeds, at, between, step_seconds, decay):
    def seconds_of_step(_step, now):
        changes = [speed for number, speed in enumerate(speeds) if now >= 120 * (at + number * between)]
        return step_seconds * (changes[-1] if changes else 1.0)

    plans, seconds = plans_of(seconds_of_step, schedule={"decay": decay})
    # A change shortly before the end, or of a decay that has not begun in time for it, cannot be made good.
    last = at + between * (len(speeds) - 1)
    if last < 0.8:
        assert seconds == pytest.approx(120, rel=0.05)
    assert (
        first_plans(TrainingSettings(steps=plans[-1][1], plans=plans, schedule={"decay": decay}), None)
        == plans
    )


def test_a_hiccup_does_not_end_the_decay():
    plans, seconds = plans_of(lambda step, _: 15.0 if step == 900 else 0.1)
    assert seconds == pytest.approx(120, rel=0.02)
    assert plans[-1][1] == pytest.approx(1050, rel=0.02)


@pytest.mark.parametrize(
    "plans", [[(50, 100), (40, 120)], [(50, 100), (60, 120), (130, 200)], [(50, 90)], [(2, 100), (9, 100)]]
)
def test_plans_that_do_not_fit_are_refused(plans):
    with pytest.raises(UsageError, match="do not fit"):
        first_plans(TrainingSettings(steps=100, plans=plans, schedule={"decay": 0.5}), 100)


def test_a_run_on_a_machine_that_is_slowed_down_ends_in_time_and_its_recipe_repeats_it(recipe, monkeypatch):
    right = stage.next_token_loss
    steps = []

    def slower_and_slower(*arguments):
        steps.append(time.monotonic())
        # About the middle of the decay, or a quarter of the time before its end.
        time.sleep(0.03 if time.monotonic() - steps[0] < 4.5 else 0.09)
        return right(*arguments)

    monkeypatch.setattr(stage, "next_token_loss", slower_and_slower)
    average = {"decay": 0.9, "tail": 0.3}
    timed = recipe(
        "timed", steps=None, minutes=0.1, validate_every=1000, checkpoint_every=10, average=average
    )
    done = run_pretraining(timed, quiet=True)
    assert done.training.seconds == pytest.approx(6.0, rel=0.15)
    assert len(done.training.settings.plans) > 1
    monkeypatch.setattr(stage, "next_token_loss", right)
    values = yaml.safe_load((timed.out / "recipe.yaml").read_text())
    assert values["training"]["plans"]
    again = PretrainSettings.parse({**values, "out": timed.out.with_name("again")})
    run_pretraining(again, quiet=True)
    assert_equal_weights(timed.out, again.out)
