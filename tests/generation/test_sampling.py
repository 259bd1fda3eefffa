"""The die: filters against transformers' processors, frequencies against probabilities."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from jielong.generation import SamplingSettings
from jielong.generation.sampling import (
    Dice,
    adjusted_probabilities,
    penalize_repetition,
    roll,
    uniform_numbers,
)


def random_logits(seed: int, rows: int = 5, vocabulary: int = 700, spread: float = 3.0) -> Tensor:
    return torch.randn(rows, vocabulary, generator=torch.Generator().manual_seed(seed)) * spread


@given(
    seed=st.integers(0, 2**31),
    vocabulary=st.sampled_from([3, 63, 64, 65, 700, 5000]),
    spread=st.sampled_from([0.0001, 1.0, 8.0]),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 7, 300, 10**6]),
    top_p=st.sampled_from([0.05, 0.5, 0.95, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
)
def test_filters_equal_transformers(
    seed: int, vocabulary: int, spread: float, temperature: float, top_k: int, top_p: float, min_p: float
) -> None:
    logits = random_logits(seed, vocabulary=vocabulary, spread=spread)
    processors = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_k:
        processors.append(TopKLogitsWarper(top_k))
    if top_p < 1:
        processors.append(TopPLogitsWarper(top_p))
    if min_p:
        processors.append(MinPLogitsWarper(min_p))
    expected = processors(torch.zeros(5, 1, dtype=torch.long), logits.clone()).softmax(-1)
    settings = SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    actual = adjusted_probabilities(logits, Dice.of([settings]))
    clear = ~rows_at_a_border(logits.double() / temperature, top_k, top_p, min_p)
    assert torch.equal(actual[clear] > 0, expected[clear] > 0)
    torch.testing.assert_close(actual[clear], expected[clear], atol=1e-6, rtol=1e-4)


def rows_at_a_border(logits: Tensor, top_k: int, top_p: float, min_p: float) -> Tensor:
    """Rows in which a filter's border falls on a token but for rounding, so that either decision is right."""
    likeliest = logits.topk(min(top_k or logits.shape[-1], logits.shape[-1])).values.softmax(-1)
    at_nucleus = ((likeliest.cumsum(-1) - top_p).abs() < 1e-5).any(-1) & (top_p < 1)
    ratios = likeliest[:, 1:] / likeliest[:, :1]
    return at_nucleus | ((ratios / max(min_p, 1e-9) - 1).abs() < 1e-4).any(-1)


@given(seed=st.integers(0, 2**31), penalty=st.sampled_from([0.7, 1.3, 2.0]))
def test_repetition_penalty_equals_transformers(seed: int, penalty: float) -> None:
    logits = random_logits(seed)
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, logits.shape[-1], (5, 40), generator=generator)
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, ids, True)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    assert torch.equal(penalize_repetition(logits, seen, penalty), expected)


def test_top_k_keeps_exactly_k_and_top_p_the_fewest() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert adjusted_probabilities(logits, Dice.of([SamplingSettings(temperature=1, top_k=2)])).tolist()[
        0
    ] == pytest.approx([0.625, 0.375, 0, 0])
    kept = adjusted_probabilities(logits, Dice.of([SamplingSettings(temperature=1, top_p=0.79)])) > 0
    assert kept.tolist() == [[True, True, False, False]]
    kept = adjusted_probabilities(logits, Dice.of([SamplingSettings(temperature=1, top_p=0.81)])) > 0
    assert kept.tolist() == [[True, True, True, False]]


@pytest.mark.parametrize(
    "settings",
    [
        SamplingSettings(temperature=1.0),
        SamplingSettings(temperature=1.6, top_k=12),
        SamplingSettings(temperature=0.8, top_p=0.8),
        SamplingSettings(temperature=1.2, min_p=0.1),
    ],
)
def test_frequencies_follow_the_probabilities(settings: SamplingSettings) -> None:
    draws = 60_000
    logits = random_logits(3, rows=1, vocabulary=40, spread=1.0)
    probabilities = adjusted_probabilities(logits, Dice.of([settings]))
    uniforms = torch.from_numpy(uniform_numbers(11, 4, draws))
    tokens = roll(probabilities.expand(draws, -1), uniforms)
    counts = tokens.bincount(minlength=40).double()
    possible = probabilities[0] > 0
    assert counts[~possible].sum() == 0
    expected = probabilities[0, possible].double() * draws
    statistic = float(((counts[possible] - expected) ** 2 / expected).sum())
    degrees = int(possible.sum()) - 1
    # Chi-square has mean d and variance 2d; five standard deviations are beyond p = 1e-4 for these d.
    assert statistic < degrees + 5 * math.sqrt(2 * degrees)


def test_numbers_of_different_rows_are_not_correlated() -> None:
    numbers = torch.stack(
        [torch.from_numpy(uniform_numbers(seed, row, 4000)) for seed in (0, 1) for row in range(6)]
    )
    correlation = torch.corrcoef(numbers) - torch.eye(12)
    assert correlation.abs().max() < 0.08


@given(
    seed=st.integers(0, 2**63), row=st.integers(0, 2**31), short=st.integers(0, 50), more=st.integers(0, 50)
)
def test_a_longer_row_of_numbers_begins_with_the_shorter(seed: int, row: int, short: int, more: int) -> None:
    assert (uniform_numbers(seed, row, short + more)[:short] == uniform_numbers(seed, row, short)).all()


@given(
    weights=st.lists(st.sampled_from([0.0, 1e-30, 1e-6, 0.2, 1.0]), min_size=1, max_size=30).filter(
        lambda weights: max(weights) > 1e-6
    ),
    uniform=st.one_of(st.floats(0, 1, exclude_max=True), st.sampled_from([0.0, math.nextafter(1, 0)])),
)
def test_a_roll_never_gives_an_impossible_token(weights: list[float], uniform: float) -> None:
    probabilities = torch.tensor([weights]) / sum(weights)
    token = int(roll(probabilities, torch.tensor([uniform], dtype=torch.float64)))
    assert probabilities[0, token] > 0
