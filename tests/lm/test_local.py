"""The engine behind the protocol: what it gives is what the engine gives."""

import math
import threading
import time

import pytest

from jielong.core.errors import JielongError, UsageError
from jielong.generation import Request as EngineRequest
from jielong.generation import SamplingSettings, load_engine
from jielong.lm import Request, UnsupportedError, Usage, open_model
from jielong.lm.local import LocalModel

ASK = [{"role": "system", "content": "山"}, {"role": "user", "content": "玉山？"}]
ROLL = SamplingSettings(max_tokens=12, temperature=1.2, seed=5)
GREEDY = SamplingSettings(max_tokens=12, temperature=0.0)
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


def completions(engine, prompt, settings, count=1):
    return engine.run([EngineRequest(prompt, settings, stream) for stream in range(count)])


def test_chats_and_texts_are_answered_as_the_engine_answers_them(local, engine):
    tokenizer = engine.tokenizer
    prompts = [
        tokenizer.encode_chat(ASK, add_generation_prompt=True),
        [tokenizer.bos_id, *tokenizer.encode("台灣最高的")],
    ]
    requests = [Request(ASK, ROLL, n=3), Request("台灣最高的", GREEDY)]
    before, told = local.usage, []
    responses = local.generate(requests, lambda index, response: told.append((index, response)))
    expected = [completions(engine, prompts[0], ROLL, 3), completions(engine, prompts[1], GREEDY)]
    for response, whole, prompt in zip(responses, expected, prompts, strict=True):
        assert [choice.text for choice in response.choices] == [one.text for one in whole]
        assert [choice.finish_reason for choice in response.choices] == [one.finish_reason for one in whole]
        assert response.usage == Usage(len(prompt), sum(len(one.ids) for one in whole))
        assert response.message == {"role": "assistant", "content": whole[0].text}
    assert sorted(told, key=lambda pair: pair[0]) == list(enumerate(responses))
    assert local.usage == before + responses[0].usage + responses[1].usage
    assert [local.tokenize(request.prompt) for request in requests] == prompts


def test_a_sample_is_the_same_however_many_are_asked_for(local):
    three = local.generate([Request(ASK, ROLL, n=3)])[0].choices
    assert local.generate([Request(ASK, ROLL, n=2)])[0].choices == three[:2]
    assert len({choice.text for choice in three}) > 1


def test_a_stream_joins_to_what_generate_gives(local):
    for settings in (ROLL, GREEDY, ROLL.model_copy(update={"stop": ("山", "1"), "max_tokens": 60})):
        *pieces, last = local.stream(Request(ASK, settings))
        (whole,) = local.generate([Request(ASK, settings)])
        assert "".join(piece.text for piece in pieces) == whole.text
        assert last.response == whole
        assert all(piece.response is None for piece in pieces)


def test_logprobs_are_the_models_own(local, engine):
    (response,) = local.generate([Request(ASK, ROLL, top_logprobs=3)])
    prompt = local.tokenize(ASK)
    ids = completions(engine, prompt, ROLL)[0].ids
    shown = [token for token in ids if token not in engine.end_ids]
    (scores,) = engine.token_logprobs([[*prompt, *shown]], 3)
    tokens = response.choices[0].logprobs
    assert len(tokens) == len(shown) > 0
    for token, score in zip(tokens, scores[len(prompt) :], strict=True):
        assert token.token == engine.tokenizer.token_bytes(score.token).decode(errors="replace")
        assert token.logprob == pytest.approx(score.logprob, abs=1e-4)
        assert [value for _, value in token.top] == pytest.approx([value for _, value in score.top], abs=1e-4)
        assert math.exp(token.top[0][1]) <= 1
    assert local.generate([Request(ASK, ROLL)])[0].choices[0].logprobs is None


def test_scores_are_the_engines(local, engine):
    prompts = [ASK, "台灣最高的", "台灣最高的"]
    continuations = ["玉山", "山是", "水"]
    ids = [engine.tokenizer.encode(text) for text in continuations]
    expected = engine.score([local.tokenize(prompt) for prompt in prompts], ids)
    assert local.score(prompts, continuations) == pytest.approx(expected)
    with pytest.raises(JielongError, match="3 prompts but 1 continuations"):
        local.score(prompts, ["a"])
    with pytest.raises(JielongError, match="empty continuation"):
        local.score(["a"], [""])


def test_threads_share_the_engine_without_mixing_up(local):
    requests = [Request([{"role": "user", "content": f"{number} 玉山"}], ROLL) for number in range(12)]
    alone = [local.generate([request])[0].text for request in requests]
    found = {}

    def ask(number):
        found[number] = "".join(chunk.text for chunk in local.stream(requests[number]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    together = [response.text for response in local.generate(requests)]
    for thread in threads:
        thread.join()
    assert together == alone == [found[number] for number in range(12)]


def test_a_closed_stream_frees_its_place(local):
    endless = SamplingSettings(max_tokens=400, logit_bias=dict.fromkeys(local._engine.end_ids, -100.0))
    stream = local.stream(Request(ASK, endless))
    next(stream)
    assert local._thread.running == 1
    stream.close()
    end = time.monotonic() + 5
    while local._thread.running and time.monotonic() < end:
        time.sleep(0.01)
    assert local._thread.running == 0
    assert local.generate([Request(ASK, GREEDY)])


def test_what_cannot_be_served_is_refused_before_anything_is_computed(local):
    long = Request("山" * 600, ROLL)
    with pytest.raises(JielongError, match="the context holds 512"):
        local.generate([Request(ASK, ROLL), long])
    with pytest.raises(JielongError, match="the context holds 512"):
        local.stream(long)
    with pytest.raises(UsageError, match="one sample"):
        local.stream(Request(ASK, n=2))
    assert local._thread.waiting == local._thread.running == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": ""}, "needs a prompt"),
        ({"prompt": []}, "needs a prompt"),
        ({"prompt": "a", "n": 0}, "n must be 1 or more"),
        ({"prompt": "a", "tools": [TOOL]}, "tools need a chat"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(values, words):
    with pytest.raises(UsageError, match=words):
        Request(**values)


def test_a_model_without_a_template_completes_but_does_not_chat(folder, tmp_path):
    engine = load_engine(folder)
    tokenizer = engine.tokenizer
    engine.tokenizer = type(tokenizer)(tokenizer._backend_json, tokenizer.config)
    with LocalModel(engine) as model:
        assert model.generate([Request("山", GREEDY)])
        with pytest.raises(JielongError, match="has no chat template"):
            model.generate([Request(ASK, GREEDY)])
        with pytest.raises(UnsupportedError, match="was not loaded from a folder"):
            _ = model.identity


def test_a_folder_is_opened_by_its_path_or_the_name_of_its_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "小金"
    run.mkdir(parents=True)
    (run / "model").symlink_to(folder)
    answers = []
    for source in (folder, str(folder), "小金", run):
        with open_model(source, cache=tmp_path / "cache") as model:
            answers += model.generate([Request(ASK, ROLL)])
    assert [answer.cached for answer in answers] == [False, True, True, True]
    assert len({answer.text for answer in answers}) == 1
    with pytest.raises(UsageError, match=r"no model nothing: name a model folder, a run in .*, or the URL"):
        open_model("nothing")


def test_other_weights_have_other_answers_in_the_cache(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    weights = load_file(other / "model.safetensors")
    save_file({name: tensor * 1.5 for name, tensor in weights.items()}, other / "model.safetensors")
    cache = tmp_path / "cache"
    for source in (folder, other):
        with open_model(source, cache=cache) as model:
            assert not model.generate([Request(ASK, ROLL)])[0].cached
    (other / "generation_config.json").write_text('{"temperature": 0.1}')
    with open_model(other, cache=cache) as model:
        assert not model.generate([Request(ASK)])[0].cached
