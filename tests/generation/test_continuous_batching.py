"""Requests that join and leave while others decode: nobody's answer changes, nobody is forgotten."""

import random
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jielong.core.errors import JielongError
from jielong.generation import Drafter, Engine, EngineThread, PromptLookup, Request, SamplingSettings, Step
from jielong.generation import engine as engine_module
from jielong.generation import rows as rows_module
from jielong.generation.prefix_cache import BLOCK, PrefixCache
from jielong.models import KVCache, load_model, qwen3_config
from jielong.tokenizer import Tokenizer

SAMPLED = SamplingSettings(temperature=1.3, top_p=0.9, max_tokens=30, seed=5)


def prompt_of(engine: Engine, length: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(20, engine.tokenizer.vocab_size) for _ in range(length)]


def alone(engine: Engine, request: Request) -> list[int]:
    fresh = Engine(engine.model, engine.tokenizer, end_ids=engine.end_ids)
    return fresh.run([request])[0].ids


requests = st.builds(
    dict,
    length=st.integers(1, 90),
    beginning=st.sampled_from([0, 40, 64]),
    settings=st.builds(
        SamplingSettings,
        temperature=st.sampled_from([0.0, 0.7, 1.5]),
        top_k=st.sampled_from([0, 5]),
        top_p=st.sampled_from([0.8, 1.0]),
        min_p=st.sampled_from([0.0, 0.05]),
        repetition_penalty=st.sampled_from([1.0, 1.3]),
        presence_penalty=st.sampled_from([0.0, 0.5]),
        frequency_penalty=st.sampled_from([0.0, -0.4]),
        max_tokens=st.integers(1, 20),
        seed=st.integers(0, 99),
        logit_bias=st.sampled_from([{}, {30: 4.0, 31: -100.0}]),
    ),
    stream=st.integers(0, 5),
    candidates=st.sampled_from([None, 0, 3]),
    joins=st.integers(0, 12),
    cancelled=st.sampled_from([None, None, None, 0, 1, 5]),
    answers=st.sampled_from([1, 1, 1, 6]),
)


@pytest.fixture(scope="module")
def exact(folder: Path) -> Engine:
    """In float64: there the rounding of differently shaped matrix products decides nothing."""
    return Engine(load_model(folder, dtype=torch.float64).eval(), Tokenizer.load(folder))


@examples(max_examples=25, deadline=None)
@given(
    wanted=st.lists(requests, min_size=1, max_size=8),
    seed=st.integers(0, 2**20),
    drafter=st.sampled_from([None, PromptLookup()]),
    smallest=st.sampled_from([2, 128]),
)
def test_an_answer_does_not_depend_on_who_comes_and_goes(
    exact: Engine, wanted: list[dict], seed: int, drafter: Drafter | None, smallest: int
) -> None:
    """Any mixture of settings, joining at any step, some of them cancelled: all as if each were alone.

    Some want several answers to their prompt; with small caches answers move to longer ones on the way.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "_SMALLEST", smallest)
        check_independence(exact, wanted, seed, drafter)


def check_independence(engine: Engine, wanted: list[dict], seed: int, drafter: Drafter | None) -> None:
    busy = Engine(engine.model, engine.tokenizer, end_ids=engine.end_ids, drafter=drafter)
    common = prompt_of(engine, 64, seed)
    plans = []
    for number, one in enumerate(wanted):
        rest = prompt_of(engine, one["length"], seed + number)
        prompt = [*common[: one["beginning"]], *rest][:90]
        for answer in range(one["answers"]):
            request = Request(prompt, one["settings"], one["stream"] + answer, one["candidates"])
            plans.append((one, request))
    running = {}
    step = 0
    while len(running) < len(plans) or any(g.finish_reason is None for g in running.values()):
        for number, (one, request) in enumerate(plans):
            if number not in running and one["joins"] <= step:
                running[number] = busy.add(request)
            elif number in running and one["cancelled"] == step - one["joins"]:
                running[number].cancel()
        busy.step()
        step += 1
        assert step < 200
    for number, (one, request) in enumerate(plans):
        generation, expected = running[number], alone(engine, request)
        steps = generation.take()
        assert "".join(one_step.text for one_step in steps) == generation.completion().text
        if generation.finish_reason == "cancelled":
            assert one["cancelled"] is not None
            assert generation.ids == expected[: len(generation.ids)]
            assert steps[-1].finish_reason == "cancelled"
            assert steps[-1].token == -1
            steps = steps[:-1]
        else:
            assert generation.ids == expected, one
            assert steps[-1].finish_reason == generation.finish_reason
        assert [one_step.token for one_step in steps] == generation.ids
    assert not busy.step()
    assert busy.running == busy.waiting == 0


def test_a_long_prompt_does_not_stall_the_others(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_PREFILL_BESIDE", 8)
    busy = Engine(engine.model, engine.tokenizer)
    busy.end_ids = frozenset()
    first = busy.add(Request(prompt_of(engine, 5, 0), SAMPLED))
    busy.step()
    late = Request(prompt_of(engine, 60, 1), SAMPLED)
    second = busy.add(late)
    came = []
    while not second.ids:
        before = len(first.ids)
        busy.step()
        came.append(len(first.ids) - before)
    assert len(came) == 8  # 60 tokens, 8 a step
    assert set(came) == {1}
    while busy.step():
        pass
    lonely = Engine(engine.model, engine.tokenizer)
    lonely.end_ids = frozenset()
    assert second.ids == lonely.run([late])[0].ids


def test_answers_to_one_prompt_share_its_computation(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = prompt_of(engine, 70, 3)
    read = count_tokens(engine, monkeypatch)
    busy = Engine(engine.model, engine.tokenizer, end_ids=engine.end_ids)
    answers = busy.run([Request(prompt, SAMPLED, stream) for stream in range(16)])
    assert read["prompt"] == 70
    monkeypatch.undo()
    for stream in (0, 7, 15):
        assert answers[stream].ids == alone(engine, Request(prompt, SAMPLED, stream))
    assert len({tuple(answer.ids) for answer in answers}) > 12


def test_a_shared_prompt_is_kept_with_its_answer(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_SHORTEST_SHARED", 40)
    prompt = prompt_of(engine, 40, 8)
    busy = Engine(engine.model, engine.tokenizer)
    busy.end_ids = frozenset()
    answers = [busy.add(Request(prompt, SAMPLED, stream)) for stream in range(rows_module.FEWEST_SHARING)]
    while busy.step():
        pass
    late = Request([*prompt, *answers[-1].ids[:-1], 50], SAMPLED)
    assert len(late.prompt) == 70
    read = count_tokens(engine, monkeypatch)
    known = busy.run([late])[0]
    assert read["prompt"] == 70 - 2 * BLOCK
    monkeypatch.undo()
    assert known.ids == alone(busy, late)


def test_a_known_beginning_is_not_computed_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    system = prompt_of(engine, 2 * BLOCK, 4)
    busy = Engine(engine.model, engine.tokenizer, end_ids=engine.end_ids)
    busy.run([Request([*system, 40, 41], SAMPLED)])
    read = count_tokens(engine, monkeypatch)
    late = Request([*system, 42, 43, 44], SAMPLED)
    answer = busy.run([late])[0]
    assert read["prompt"] == 3
    monkeypatch.undo()
    assert answer.ids == alone(engine, late)


def test_the_next_turn_begins_with_the_last(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Engine(engine.model, engine.tokenizer)
    busy.end_ids = frozenset()
    prompt = prompt_of(engine, 20, 6)
    answer = [step.token for step in busy.stream(prompt, SAMPLED)]
    assert len(answer) == 30
    read = count_tokens(engine, monkeypatch)
    list(busy.stream([*prompt, *answer, 50], SAMPLED))
    assert read["prompt"] == 20 + 30 + 1 - BLOCK


def count_tokens(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Tokens of prompts that go through the network from now on."""
    read = {"prompt": 0}
    forward = engine.model.forward

    def counting(tokens, positions, mask=None, cache=None):
        if not (cache and cache[0].cache.length >= 96):  # not a cache of rows that decode
            read["prompt"] += tokens.numel()
        return forward(tokens, positions, mask, cache)

    monkeypatch.setattr(engine.model, "forward", counting)
    return read


def test_kept_beginnings_stay_within_their_bytes() -> None:
    config = qwen3_config(32, 2, 100, 512)
    cache = KVCache.allocate(config, 2, 200)
    for part in (*cache.keys, *cache.values):
        part.normal_()
    rng = random.Random(0)
    texts = [[rng.randrange(100) for _ in range(rng.randrange(10, 200))] for _ in range(40)]
    block_bytes = sum(part[0, :, :BLOCK].nbytes for part in (*cache.keys, *cache.values))
    prefixes = PrefixCache(10 * block_bytes)
    for number, text in enumerate(texts):
        prefixes.keep(text, cache, number % 2)
        assert prefixes.bytes <= 10 * block_bytes
        length, found = prefixes.find([*text, 7])
        assert length == len(text) // BLOCK * BLOCK
        if found is not None:
            assert torch.equal(found.keys[1][0, :, :length], cache.keys[1][number % 2, :, :length])
        # One token is left to compute, always.
        assert prefixes.find(text)[0] <= len(text) - 1
    assert PrefixCache(0).find(texts[0]) == (0, None)


def test_a_thread_serves_many_callers(engine: Engine) -> None:
    thread = EngineThread(Engine(engine.model, engine.tokenizer, end_ids=engine.end_ids))
    wanted = [Request(prompt_of(engine, 1 + number, number), SAMPLED, number) for number in range(24)]
    answers: list[list[Step | Exception]] = [[] for _ in wanted]
    ended = [threading.Event() for _ in wanted]

    def ask(number: int) -> None:
        def deliver(step: Step | Exception) -> None:
            answers[number].append(step)
            if isinstance(step, Exception) or step.finish_reason is not None:
                ended[number].set()

        ticket = thread.submit(wanted[number], deliver)
        if number % 5 == 0:
            ticket.cancel()

    callers = [threading.Thread(target=ask, args=(number,)) for number in range(len(wanted))]
    for caller in callers:
        caller.start()
    assert thread.call(lambda one: one.score([[20]], [[21]])).result(30)[0] < 0
    assert all(event.wait(30) for event in ended)
    for number, request in enumerate(wanted):
        reasons = [step.finish_reason for step in answers[number]]
        assert reasons.count(None) == len(reasons) - 1
        tokens = [step.token for step in answers[number] if step.token >= 0]
        expected = alone(engine, request)
        assert tokens == (expected[: len(tokens)] if reasons[-1] == "cancelled" else expected)
        assert reasons[-1] != "cancelled" or number % 5 == 0
    with pytest.raises(JielongError, match="empty"):
        thread.submit(Request([], SAMPLED), print)
    thread.close()
    with pytest.raises(JielongError, match="closing"):
        thread.submit(wanted[0], print)


def test_closing_drains_for_so_long(engine: Engine) -> None:
    never_ends = Engine(engine.model, engine.tokenizer)
    never_ends.end_ids = frozenset()
    thread = EngineThread(never_ends)
    steps: list[Step | Exception] = []
    thread.submit(Request([20], SAMPLED), steps.append)
    thread.close(drain_seconds=30)
    assert steps[-1].finish_reason == "length"
    assert len(steps) == SAMPLED.max_tokens
    thread = EngineThread(never_ends)
    cut: list[Step | Exception] = []
    thread.submit(Request([20], SAMPLED.model_copy(update={"max_tokens": 90})), cut.append)
    thread.close()
    assert cut[-1].finish_reason == "cancelled" or len(cut) == 90


def test_an_error_in_a_step_reaches_everybody_and_the_engine_goes_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = EngineThread(Engine(engine.model, engine.tokenizer))
    failed = threading.Event()

    def broken(*_arguments: object, **_options: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(engine.model, "forward", broken)
    got: list[Step | Exception] = []

    def deliver(step: Step | Exception) -> None:
        got.append(step)
        failed.set()

    thread.submit(Request([20, 21], SAMPLED), deliver)
    assert failed.wait(30)
    assert isinstance(got[0], RuntimeError)
    monkeypatch.undo()
    done = threading.Event()
    thread.submit(Request([20, 21], SAMPLED), lambda step: done.set() if step.finish_reason else None)
    assert done.wait(30)
    thread.close()
