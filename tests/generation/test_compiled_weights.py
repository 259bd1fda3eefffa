"""Compiled steps of 8-bit and 4-bit weights answer as uncompiled ones do."""

from pathlib import Path

import pytest
from test_continuous_batching import prompt_of

from jielong.generation import Engine, Request, SamplingSettings, load_engine
from jielong.models import Transformer, load_model, save_model

GREEDY = SamplingSettings(temperature=0.0, max_tokens=24)
SAMPLED = SamplingSettings(temperature=1.3, top_p=0.9, max_tokens=24, seed=5)
# Nats that a log-probability may differ: a number that is computed in another order may get another code.
NEAR = 0.1


@pytest.fixture(scope="module", params=["int8", "int4"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def narrow(folder: Path, kind: str) -> Engine:
    return load_engine(folder, kind)


@pytest.fixture(scope="module")
def compiled(folder: Path, kind: str) -> Engine:
    return load_engine(folder, kind, compiled_rows=[6])


def answers(engine: Engine, requests: list[Request]) -> list[list[int]]:
    return [completion.ids for completion in engine.run(requests)]


def test_every_token_has_the_probability_that_uncompiled_weights_give_it(
    compiled: Engine, narrow: Engine
) -> None:
    requests = [Request(prompt_of(narrow, 3 + 7 * row, row), SAMPLED, row, 1) for row in range(5)]
    generations = [compiled.add(request) for request in requests]
    while compiled.step():
        pass
    for request, generation in zip(requests, generations, strict=True):
        steps = generation.take()
        assert len(steps) > 1
        text = [*request.prompt, *(step.token for step in steps)]
        expected = narrow.token_logprobs([text])[0][len(request.prompt) :]
        for step, score in zip(steps, expected, strict=True):
            assert score is not None
            assert step.logprob == pytest.approx(score.logprob, abs=NEAR)


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED])
def test_answers_are_the_same_compiled_or_not_alone_or_together(
    compiled: Engine, narrow: Engine, settings: SamplingSettings
) -> None:
    requests = [Request(prompt_of(narrow, 3 + 7 * row, row), settings, row) for row in range(5)]
    alone = [answers(narrow, [request])[0] for request in requests]
    assert len({tuple(answer) for answer in alone}) > 1
    ways = (
        answers(narrow, requests),
        answers(compiled, requests),
        [answers(compiled, [request])[0] for request in requests],
    )
    # Two tokens may be so close that rounding decides, and from there on answers differ.
    for way in ways:
        assert sum(ours == theirs for ours, theirs in zip(way, alone, strict=True)) >= 4


def test_weights_are_not_those_of_another_network_of_the_same_shape(
    compiled: Engine, folder: Path, kind: str, tmp_path: Path
) -> None:
    """The second is compiled when all that can be kept of the first has been."""
    first = load_model(folder)
    tokenizer = compiled.tokenizer
    other = Transformer(first.config, seed=9)
    save_model(other, tmp_path, eos_id=tokenizer.eos_id, bos_id=tokenizer.bos_id, pad_id=tokenizer.pad_id)
    tokenizer.save(tmp_path)
    request = Request(prompt_of(compiled, 10, 3), GREEDY)
    expected = answers(load_engine(tmp_path, kind), [request])
    assert answers(load_engine(tmp_path, kind, compiled_rows=[6]), [request]) == expected
    assert answers(compiled, [request]) != expected
