"""The engine against transformers, and batches against single rows."""

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from jielong.core.errors import JielongError
from jielong.core.files import to_json
from jielong.generation import Engine, Request, SamplingSettings, TextStream, complete, load_engine
from jielong.generation.sampling import Dice, adjusted_probabilities

GREEDY = SamplingSettings(temperature=0, max_tokens=40)
SAMPLED = SamplingSettings(temperature=1.3, top_p=0.9, max_tokens=30, seed=5)


def prompts_of(engine: Engine, lengths: list[int], seed: int = 0) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randrange(20, engine.tokenizer.vocab_size) for _ in range(length)] for length in lengths]


@pytest.fixture(scope="module")
def oracle(folder: Path) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def oracle_generate(
    oracle: torch.nn.Module, engine: Engine, prompt: list[int], **options: object
) -> list[int]:
    # The spare rows of the embedding mean nothing, and our engine never generates them.
    spare = list(range(engine.tokenizer.vocab_size, engine.model.config.vocab_size))
    ids = torch.tensor([prompt])
    output = oracle.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, suppress_tokens=spare, **options
    )
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_greedy_equals_transformers(engine: Engine, oracle: torch.nn.Module, penalty: float) -> None:
    prompts = prompts_of(engine, [1, 3, 4, 17, 30, 50])
    settings = GREEDY.model_copy(update={"repetition_penalty": penalty})
    for prompt, completion in zip(prompts, engine.generate(prompts, settings), strict=True):
        expected = oracle_generate(oracle, engine, prompt, max_new_tokens=40, repetition_penalty=penalty)
        assert completion.ids == expected


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_row_does_not_depend_on_the_other_rows(engine: Engine, settings: SamplingSettings) -> None:
    lengths = [5, 60, 1, 33, 12, 12, 70, 2] * 20
    prompts = prompts_of(engine, lengths)
    together = engine.generate(prompts, settings)
    for index in [*range(8), 77, 159]:
        mates = prompts_of(engine, lengths[:index][::-1], seed=index + 1)
        assert engine.generate([*mates, prompts[index]], settings)[index] == together[index]
        steps = list(engine.stream(prompts[index], settings, index=index))
        assert [step.token for step in steps] == together[index].ids
        assert "".join(step.text for step in steps) == together[index].text
        assert steps[-1].finish_reason == together[index].finish_reason


def test_rows_and_seeds_roll_differently(engine: Engine) -> None:
    prompt = prompts_of(engine, [6])[0]
    rows = engine.generate([prompt] * 30, SAMPLED)
    assert len({tuple(row.ids) for row in rows}) > 25
    assert rows == engine.generate([prompt] * 30, SAMPLED)
    other_seed = engine.generate([prompt] * 30, SAMPLED.model_copy(update={"seed": 6}))
    assert not {tuple(row.ids) for row in rows} & {tuple(row.ids) for row in other_seed}


def test_first_tokens_follow_the_probabilities(engine: Engine) -> None:
    prompt = prompts_of(engine, [9])[0]
    settings = SamplingSettings(temperature=0.8, top_k=5, max_tokens=1, seed=1)
    with torch.inference_mode():
        hidden = engine.model(torch.tensor([prompt]), torch.arange(len(prompt))[None])
        logits = engine.model.head(hidden[:, -1])[:, : engine.tokenizer.vocab_size]
    expected = adjusted_probabilities(logits, Dice.of([settings]))[0].double() * 2000
    rows = engine.generate([prompt] * 2000, settings)
    counts = torch.tensor([row.ids[0] for row in rows]).bincount(minlength=len(expected))
    kept = expected > 0
    assert kept.sum() == 5
    assert counts[~kept].sum() == 0
    assert (
        (counts - expected)[kept] ** 2 / expected[kept]
    ).sum() < 23.5  # p = 1e-4 with 4 degrees of freedom


def test_step_describes_the_die(engine: Engine, oracle: torch.nn.Module) -> None:
    prompt = prompts_of(engine, [7])[0]
    settings = SAMPLED.model_copy(update={"top_k": 6, "repetition_penalty": 1.2, "stop": ()})
    ids = list(prompt)
    for step in engine.stream(prompt, settings):
        with torch.inference_mode():
            logits = oracle(torch.tensor([ids])).logits[0, -1]
        own = logits.softmax(-1)[: engine.tokenizer.vocab_size]
        assert step.logprob == pytest.approx(float(own[step.token].log()), abs=1e-4)
        assert [token for token, _ in step.top] == own.topk(8).indices.tolist()
        assert [p for _, p in step.top] == pytest.approx(own.topk(8).values.tolist(), abs=1e-5)
        assert [token for token, _ in step.top_rolled] == [token for token, _ in step.top]
        assert sum(p for _, p in step.top_rolled) <= 1 + 1e-6
        assert 0 < step.probability <= 1
        assert dict(step.top_rolled).get(step.token, step.probability) == step.probability
        ids.append(step.token)


def test_score_equals_transformers(engine: Engine, oracle: torch.nn.Module) -> None:
    prompts = prompts_of(engine, [1, 8, 8, 30, 60, 2] * 8, seed=1)
    continuations = prompts_of(engine, [4, 1, 20, 9, 36, 80] * 8, seed=2)
    scores = engine.score(prompts, continuations)
    for prompt, continuation, score in zip(prompts, continuations, scores, strict=True):
        with torch.inference_mode():
            logprobs = oracle(torch.tensor([prompt + continuation])).logits[0].double().log_softmax(-1)
        expected = sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(continuation))
        assert score == pytest.approx(expected, abs=1e-3)


def test_continuations_of_one_prompt_share_a_row(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = prompts_of(engine, [30, 7, 50], seed=1)
    choices = prompts_of(engine, [4, 1, 20, 9], seed=2)
    read = []
    forward = engine.model.forward

    def counting(tokens: torch.Tensor, *rest: object) -> torch.Tensor:
        read.append(tokens.shape)
        return forward(tokens, *rest)

    monkeypatch.setattr(engine.model, "forward", counting)
    pairs = [(prompt, choice) for prompt in prompts for choice in choices]
    scores = engine.score(*zip(*pairs, strict=True))
    assert sum(rows for rows, _ in read) == 3
    monkeypatch.undo()
    # Other pairs in between: every prompt alone in its row.
    alone = engine.score(*zip(*sorted(pairs, key=lambda pair: len(pair[1])), strict=True))
    expected = dict(zip(sorted(range(12), key=lambda i: len(pairs[i][1])), alone, strict=True))
    assert scores == pytest.approx([expected[i] for i in range(12)], abs=1e-4)


def test_every_token_of_a_text_has_a_score(engine: Engine) -> None:
    texts = prompts_of(engine, [1, 2, 40, 40, 96], seed=3)
    for text, scores in zip(texts, engine.token_logprobs(texts, candidates=3), strict=True):
        assert scores[0] is None
        assert [score.token for score in scores[1:]] == text[1:]
        if len(text) > 1:
            total = engine.score([text[:1]], [text[1:]])[0]
            assert sum(score.logprob for score in scores[1:]) == pytest.approx(total, abs=1e-3)
        for score in scores[1:]:
            assert len(score.top) == 3
            assert score.top == sorted(score.top, key=lambda pair: -pair[1])
            assert score.logprob <= score.top[0][1] + 1e-6


def test_an_embedding_is_the_mean_of_a_text_alone(engine: Engine) -> None:
    texts = prompts_of(engine, [1, 30, 96, 7], seed=4)
    together = engine.embed(texts)
    assert together.shape == (4, engine.model.config.hidden_size)
    for row, text in zip(together, texts, strict=True):
        with torch.inference_mode():
            hidden = engine.model(torch.tensor([text]), torch.arange(len(text))[None])
        torch.testing.assert_close(row, hidden[0].mean(0), atol=1e-5, rtol=1e-4)
    for text, message in [([], "empty"), ([20] * 97, "97 tokens")]:
        with pytest.raises(JielongError, match=message):
            engine.embed([text])


def test_score_and_generation_agree(engine: Engine) -> None:
    """The cache's path and the plain forward pass give one sequence the same probability."""
    prompt = prompts_of(engine, [20])[0]
    steps = list(engine.stream(prompt, SAMPLED))
    score = engine.score([prompt], [[step.token for step in steps]])[0]
    assert score == pytest.approx(sum(step.logprob for step in steps), abs=1e-3)


def test_generation_ends_at_the_context(engine: Engine) -> None:
    prompts = prompts_of(engine, [95, 90, 3])
    never_ends = Engine(engine.model, engine.tokenizer)
    never_ends.end_ids = frozenset()
    completions = never_ends.generate(prompts, GREEDY.model_copy(update={"max_tokens": 10**9}))
    assert [len(completion.ids) for completion in completions] == [1, 6, 93]
    assert {completion.finish_reason for completion in completions} == {"length"}


def test_end_tokens_end_an_answer(engine: Engine, folder: Path, tmp_path: Path) -> None:
    prompts = prompts_of(engine, list(range(3, 20)))
    answers = [completion.ids for completion in engine.generate(prompts, GREEDY)]
    prompt, ids, place = next(
        (prompt, ids, place)
        for prompt, ids in zip(prompts, answers, strict=True)
        for place in range(1, len(ids))
        if ids[place] not in ids[:place]
    )
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = {"eos_token_id": [engine.tokenizer.eos_id, ids[place]], "temperature": 0.0, "max_new_tokens": 40}
    (tmp_path / "generation_config.json").write_text(to_json(config))
    completion = load_engine(tmp_path).generate([prompt])[0]
    assert completion.ids == ids[: place + 1]
    assert completion.finish_reason == "stop"
    assert completion.text == engine.tokenizer.decode(ids[:place])


def test_stop_strings_are_cut_across_tokens(engine: Engine) -> None:
    prompt = prompts_of(engine, [4])[0]
    text = engine.generate([prompt], SAMPLED)[0].text
    for start in range(1, len(text) - 3):
        stop = text[start : start + 3]
        settings = SAMPLED.model_copy(update={"stop": (stop, "never in the text")})
        completion = engine.generate([prompt], settings)[0]
        assert completion.text == text[: text.index(stop)]
        assert completion.finish_reason == "stop"
        assert "".join(step.text for step in engine.stream(prompt, settings)) == completion.text


@examples(max_examples=30)
@given(text=st.text(min_size=1, max_size=20), seed=st.integers(0, 2**40))
def test_pieces_join_to_the_batch_text(engine: Engine, text: str, seed: int) -> None:
    prompt = engine.tokenizer.encode(text)[:60]
    settings = SamplingSettings(temperature=2, max_tokens=24, seed=seed)
    completion = engine.generate([prompt], settings)[0]
    steps = list(engine.stream(prompt, settings))
    shown = [token for token in completion.ids if token not in engine.end_ids]
    assert "".join(step.text for step in steps) == completion.text == engine.tokenizer.decode(shown)


@examples(max_examples=60)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_a_given_text_streams_back_exactly(engine: Engine, text: str) -> None:
    """Any text that the model might say arrives whole: no piece has a broken character in it."""
    stream = TextStream(engine.tokenizer)
    pieces = [stream.push(token) for token in engine.tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert stream.flush() == ""


def test_after_an_error_new_answers_roll_with_their_own_settings(engine: Engine) -> None:
    other = Engine(engine.model, engine.tokenizer)
    other.add(Request([20, 21], SAMPLED.model_copy(update={"temperature": 5.0, "top_p": 1.0})))
    other.step()
    other.step()
    other.clear()
    assert other.generate([[20, 21]], GREEDY) == engine.generate([[20, 21]], GREEDY)


def test_complete_begins_a_document(engine: Engine) -> None:
    prompt = [engine.tokenizer.bos_id, *engine.tokenizer.encode("台灣")]
    tokens = [step.token for step in complete(engine, "台灣", SAMPLED)]
    assert tokens == engine.generate([prompt], SAMPLED)[0].ids


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([], "is empty"), ([20] * 96, "leaves no room"), ([10**6], "outside the vocabulary"), ([-1], "outside")],
)
def test_prompts_that_cannot_be_continued(engine: Engine, prompt: list[int], message: str) -> None:
    with pytest.raises(JielongError, match=message):
        engine.generate([[20], prompt], GREEDY)
    with pytest.raises(JielongError, match=message):
        engine.stream(prompt, GREEDY)


def test_pairs_that_cannot_be_scored(engine: Engine) -> None:
    for prompt, continuation, message in [
        ([], [20], "empty prompt"),
        ([20], [], "empty"),
        ([20] * 90, [20] * 7, "97"),
    ]:
        with pytest.raises(JielongError, match=message):
            engine.score([prompt], [continuation])
    with pytest.raises(JielongError, match="1 prompts but 0"):
        engine.score([[20]], [])
    assert engine.score([], []) == []
    assert engine.generate([], GREEDY) == []


def test_defaults_come_from_the_folder(tmp_path: Path) -> None:
    assert SamplingSettings.from_folder(tmp_path) == SamplingSettings()
    path = tmp_path / "generation_config.json"
    path.write_text(
        to_json({"temperature": 0.6, "top_k": 20, "top_p": None, "do_sample": True, "eos_token_id": 1})
    )
    assert SamplingSettings.from_folder(tmp_path) == SamplingSettings(temperature=0.6, top_k=20)
    path.write_text(to_json({"do_sample": False, "temperature": 0.6}))
    assert SamplingSettings.from_folder(tmp_path).temperature == 0
    path.write_text(to_json({"top_p": 3}))
    with pytest.raises(JielongError, match=r"generation_config.json.*top_p"):
        SamplingSettings.from_folder(tmp_path)
    path.write_text("[]")
    with pytest.raises(JielongError, match="JSON object"):
        SamplingSettings.from_folder(tmp_path)
