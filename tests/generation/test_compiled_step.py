"""The compiled step gives the same answers, whoever joins, and knows one model from another."""

import random
from pathlib import Path

import pytest
import torch
from test_continuous_batching import prompt_of

from jielong.generation import Engine, Request, SamplingSettings, load_engine
from jielong.models import prepare_for_inference

SAMPLED = SamplingSettings(temperature=1.3, top_p=0.9, max_tokens=30, seed=5)


@pytest.fixture(scope="module")
def compiled(folder: Path) -> Engine:
    engine = load_engine(folder)
    engine.compile(rows=[2, 6])
    return engine


def test_compiled_answers_are_the_same(compiled: Engine, engine: Engine) -> None:
    """From 1 to 8 rows at once: filled up to 2 or 6, or too many and so not compiled."""
    wanted = [Request(prompt_of(engine, 1 + 9 * number, number), SAMPLED, number) for number in range(8)]
    expected = engine.run(wanted)
    compiles = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    generations = []
    for request in wanted:
        generations.append(compiled.add(request))
        for _ in range(random.Random(len(generations)).randrange(4)):
            compiled.step()
    while compiled.step():
        pass
    for generation, completion in zip(generations, expected, strict=True):
        assert generation.ids == completion.ids
    # Everything was compiled beforehand; neither a longer cache nor another number of rows compiles anew.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == compiles


def test_two_compiled_models_are_not_mixed_up(compiled: Engine, engine: Engine) -> None:
    other = Engine(engine.model.__class__(engine.model.config, seed=9).eval(), engine.tokenizer)
    request = Request(prompt_of(engine, 10, 3), SAMPLED)
    expected = other.run([request])[0]
    other.compile(rows=[2])
    assert compiled.run([request])[0] == engine.run([request])[0]
    assert other.run([request])[0] == expected
    assert expected != engine.run([request])[0]


def test_narrow_weights_are_not_those_of_another_network_of_the_same_shape(engine: Engine) -> None:
    """The second is compiled when all that can be kept of the first has been."""
    request = Request(prompt_of(engine, 10, 3), SAMPLED, candidates=1)
    rolled = []
    for seed in (8, 9):
        model = engine.model.__class__(engine.model.config, seed=seed)
        narrow = Engine(prepare_for_inference(model, "int8"), engine.tokenizer)
        narrow.compile(rows=[2])
        generation = narrow.add(request)
        while narrow.step():
            pass
        steps = generation.take()
        rolled.append([step.token for step in steps])
        logprobs = [step.logprob for step in steps if step.logprob is not None]
        # Scoring is not compiled.
        assert sum(logprobs) == pytest.approx(narrow.score([request.prompt], rolled[-1:])[0], abs=1.0)
    assert rolled[0] != rolled[1]
