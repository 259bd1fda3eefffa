"""The engine with every kind of weights."""

from pathlib import Path

import pytest

from jielong.core.errors import UsageError
from jielong.generation import Engine, SamplingSettings, load_engine
from jielong.models import WEIGHTS
from jielong.models.quantized import Int4Linear, Int8Linear

PROMPTS = [[20 + (7 * place + row) % 300 for place in range(4 + 9 * row)] for row in range(5)]
SETTINGS = SamplingSettings(temperature=0.9, max_tokens=24, seed=3)
# Nats a token that a log-probability may differ from float32's, and decoding's from scoring's.
FROM_FLOAT32 = {"float32": 1e-5, "bfloat16": 0.1, "int8": 0.2, "int4": 1.0}
FROM_SCORING = {"float32": 1e-4, "bfloat16": 0.05, "int8": 0.05, "int4": 0.05}


@pytest.fixture(scope="module", params=WEIGHTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def narrow(folder: Path, kind: str) -> Engine:
    return load_engine(folder, kind)


def test_answers_stream_as_they_are_generated(narrow: Engine) -> None:
    completions = narrow.generate(PROMPTS, SETTINGS)
    assert len({tuple(completion.ids) for completion in completions}) > 1
    # One prompt alone, so that the products have the same shape both times.
    alone = narrow.generate(PROMPTS[:1], SETTINGS)[0]
    steps = list(narrow.stream(PROMPTS[0], SETTINGS))
    assert [step.token for step in steps] == alone.ids
    assert "".join(step.text for step in steps) == alone.text


def test_a_rolled_token_has_the_probability_that_scoring_gives_it(narrow: Engine, kind: str) -> None:
    """Decoding one row runs a kernel, scoring many tokens at once widens the weights."""
    steps = list(narrow.stream(PROMPTS[1], SETTINGS))
    scored = narrow.score([PROMPTS[1]], [[step.token for step in steps]])[0]
    rolled = sum(step.logprob for step in steps if step.logprob is not None)
    assert abs(scored - rolled) < FROM_SCORING[kind] * len(steps)


def test_log_probabilities_stay_near_those_of_float32(narrow: Engine, engine: Engine, kind: str) -> None:
    exact = engine.token_logprobs(PROMPTS)
    rounded = narrow.token_logprobs(PROMPTS)
    pairs = [
        (a.logprob, b.logprob)
        for ours, theirs in zip(exact, rounded, strict=True)
        for a, b in zip(ours, theirs, strict=True)
        if a is not None and b is not None
    ]
    assert len(pairs) == sum(len(prompt) - 1 for prompt in PROMPTS)
    assert sum(abs(a - b) for a, b in pairs) / len(pairs) < FROM_FLOAT32[kind]


def test_the_weights_are_what_was_asked_for(narrow: Engine, kind: str) -> None:
    made = {type(module) for module in narrow.model.modules()}
    assert (Int8Linear in made) == (kind in ("int8", "int4"))
    assert (Int4Linear in made) == (kind == "int4")


def test_auto_chooses_one_of_them(folder: Path) -> None:
    engine = load_engine(folder, "auto")
    assert not any(isinstance(module, Int4Linear) for module in engine.model.modules())
    assert engine.generate(PROMPTS, SETTINGS)


def test_unknown_weights_are_one_clear_line(folder: Path) -> None:
    with pytest.raises(UsageError, match="weights must be one of"):
        load_engine(folder, "int2")
