"""The law, its fit, and the plans that follow from it."""

import math

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jielong.core.errors import JielongError, UsageError
from jielong.models import count_parameters, flops_per_token, qwen3_config
from jielong.models.sizes import SHAPES
from jielong.training.planning import (
    CHINCHILLA,
    REPLICATION,
    Budget,
    Run,
    ScalingLaw,
    TrainingSpeed,
    fit_law,
    parse_count,
    parse_law,
    plan_compute,
)

SMALL = ScalingLaw(0.9, 30.0, 60.0, 0.35, 0.30, "bits/byte", "made up", (3e5, 6e6))
SPEED = TrainingSpeed(100e9, "bfloat16", "cpu", compiles=True)


def runs_of(law, noise=0.0):
    random = np.random.default_rng(0)
    return [
        Run(size, flops / 6 / size, law.loss(size, flops / 6 / size) * math.exp(noise * random.normal()))
        for flops in (1.5e12, 4e12, 1e13, 2.5e13)
        for size in (4e5, 1e6, 2e6, 5e6)
    ]


@pytest.mark.parametrize("law", [CHINCHILLA, REPLICATION, SMALL])
@given(exponent=st.floats(12, 24))
@settings(max_examples=20, deadline=None)
def test_the_optimum_is_the_least_loss_at_its_compute(law, exponent):
    flops = 10**exponent
    size, tokens = law.optimum(flops)
    assert 6 * size * tokens == pytest.approx(flops)
    around = [law.loss(size * factor, tokens / factor) for factor in (0.5, 0.99, 1.01, 2)]
    assert law.loss(size, tokens) <= min(around)
    assert law.tokens_for(size) == pytest.approx(tokens)
    assert law.parameters_for(tokens) == pytest.approx(size)


def test_the_replication_says_twenty_tokens_a_parameter_for_chinchilla():
    """Besiroglu et al., figure 5: at Chinchilla's compute about 20, where the printed constants say 70."""
    size, tokens = REPLICATION.optimum(5.76e23)
    assert 15 < tokens / size < 30
    size, tokens = CHINCHILLA.optimum(5.76e23)
    assert tokens / size > 50


@pytest.mark.parametrize("law", [REPLICATION, SMALL])
def test_a_fit_recovers_the_law_that_made_the_runs(law):
    fit = fit_law(runs_of(law), draws=5)
    for name in ("e", "a", "b", "alpha", "beta"):
        assert getattr(fit.law, name) == pytest.approx(getattr(law, name), rel=1e-3)
    assert fit.residual < 1e-6
    assert fit.alpha_interval == pytest.approx((law.alpha, law.alpha), rel=1e-3)
    assert fit.law.sizes == (4e5, 5e6)


def test_an_outlier_moves_the_fit_little_and_noise_widens_the_interval():
    runs = runs_of(SMALL, noise=0.002)
    clean = fit_law(runs, draws=20)
    low, high = clean.size_exponent_interval
    assert low < 0.30 / 0.65 < high
    assert high - low > 0.005
    spoilt = [*runs[:5], Run(runs[5].parameters, runs[5].tokens, 1.5 * runs[5].loss), *runs[6:]]
    law = fit_law(spoilt, draws=0).law
    for run in runs:
        assert law.loss(run.parameters, run.tokens) == pytest.approx(run.loss, rel=0.02)


def test_too_few_runs_are_refused():
    with pytest.raises(JielongError, match="six runs or more"):
        fit_law(runs_of(SMALL)[:5])
    with pytest.raises(JielongError, match="three sizes"):
        fit_law([run for run in runs_of(SMALL) * 2 if run.parameters < 2e6])


def test_a_law_is_read_back_from_its_file():
    text = yaml.safe_dump({"law": SMALL.to_yaml_fields(), "alpha_interval": [0.3, 0.4]})
    assert parse_law(text, "x") == SMALL
    for broken in ("law: {e: 1}", "nonsense", "law: [", "law: {}"):
        with pytest.raises(JielongError, match=r"x does not hold a scaling law"):
            parse_law(broken, "x")


@given(minutes=st.floats(1, 600))
@settings(max_examples=25, deadline=None)
def test_a_time_budget_takes_the_shape_of_least_loss_and_keeps_the_time(minutes):
    plan = plan_compute(Budget(minutes=minutes), SPEED, SMALL)
    assert plan.seconds == 60 * minutes
    spent = plan.tokens / plan.tokens_per_second + (35.0 if plan.compiled else 0.0)
    assert spent == pytest.approx(60 * minutes)
    for shape in SHAPES:
        config = qwen3_config(*shape, 4096, 256)
        tokens = SPEED.tokens_within(config, 256, 60 * minutes)
        assert plan.loss <= SMALL.loss(count_parameters(config), tokens) + 1e-12
    assert plan.tokens_per_parameter == pytest.approx(plan.tokens / plan.parameters)


def test_more_compute_never_gives_a_smaller_network_or_fewer_tokens():
    plans = [plan_compute(Budget(flops=10**exponent), SPEED, SMALL) for exponent in np.arange(12, 18, 0.5)]
    sizes = [plan.parameters for plan in plans]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 4
    losses = [plan.loss for plan in plans]
    assert losses == sorted(losses, reverse=True)
    for plan in plans:
        config = qwen3_config(plan.width, plan.layers, 4096, 256)
        assert plan.flops == pytest.approx(plan.tokens * flops_per_token(config, 256))


def test_a_given_size_or_number_of_tokens_is_filled_in():
    both = plan_compute(Budget(parameters=5.6e6, tokens=2e7), SPEED, SMALL)
    assert (both.width, both.layers, both.tokens) == (256, 6, 2e7)
    assert both.seconds == pytest.approx(2e7 / both.tokens_per_second + 35.0)
    size = plan_compute(Budget(parameters=5.6e6), SPEED, SMALL)
    assert size.tokens == pytest.approx(SMALL.tokens_for(size.parameters))
    tokens = plan_compute(Budget(tokens=size.tokens), SPEED, SMALL)
    assert (tokens.width, tokens.layers) == (256, 6)
    timed = plan_compute(Budget(parameters=5.6e6, minutes=10), SPEED, SMALL)
    assert timed.width == 256
    assert timed.seconds == 600


def test_a_short_run_is_not_compiled():
    assert not plan_compute(Budget(minutes=1), SPEED, SMALL).compiled
    assert plan_compute(Budget(minutes=10), SPEED, SMALL).compiled


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "say what is given"),
        ({"minutes": 0}, "--minutes must be above 0"),
        ({"minutes": 1, "flops": 1e12}, "both say how long"),
        ({"tokens": 1e6, "flops": 1e12}, "both say how long"),
    ],
)
def test_a_budget_that_says_too_little_or_too_much_is_refused(given, words):
    with pytest.raises(UsageError, match=words):
        Budget(**given)


def test_a_budget_too_small_for_anything_is_refused():
    with pytest.raises(JielongError, match="too small"):
        plan_compute(Budget(flops=1e3), SPEED, SMALL)


@pytest.mark.parametrize(
    ("text", "number"),
    [("5.6M", 5.6e6), ("125 m", 1.25e8), ("2e15", 2e15), ("1,000", 1000), (".5B", 5e8), ("3T", 3e12)],
)
def test_counts_are_read_as_people_write_them(text, number):
    assert parse_count(text, "--params") == number


@pytest.mark.parametrize("text", ["", "M", "five", "1.2.3", "-3", "5MM"])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(UsageError, match="--params"):
        parse_count(text, "--params")
