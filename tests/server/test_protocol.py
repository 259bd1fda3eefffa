"""A model answers alike in this process and behind `jielong serve`: the two are interchangeable."""

import json
import time

import pytest

from jielong.core.errors import JielongError
from jielong.generation import SamplingSettings
from jielong.lm import RemoteSettings, Request, open_model

ASK = [{"role": "system", "content": "山"}, {"role": "user", "content": "玉山？"}]
ROLL = SamplingSettings(max_tokens=16, temperature=1.2, seed=5)
GREEDY = SamplingSettings(max_tokens=16, temperature=0.0)
LONG = SamplingSettings(max_tokens=200, temperature=1.0, seed=1)
DAYS = {
    "type": "object",
    "properties": {"days": {"enum": [1, 2, 3]}},
    "required": ["days"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": DAYS}}
OTHER = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}},
}
REQUESTS = {
    "chat": Request(ASK, GREEDY),
    "samples": Request(ASK, ROLL, n=3),
    "text": Request("台灣最高的", ROLL, n=2),
    "stop": Request("台灣最高的", ROLL.model_copy(update={"stop": ("山", "1"), "top_k": 40, "top_p": 0.95})),
    "penalties": Request(ASK, ROLL.model_copy(update={"presence_penalty": 1.0, "frequency_penalty": 0.5})),
    "bias": Request(ASK, ROLL.model_copy(update={"logit_bias": {80: 3.0, 90: -100.0}})),
    "logprobs": Request(ASK, ROLL, top_logprobs=3),
    "schema": Request(ASK, LONG, schema=DAYS),
    "tool": Request(ASK, LONG, tools=[TOOL, OTHER], tool_choice="required"),
    "this tool": Request(
        ASK, LONG, tools=[TOOL, OTHER], tool_choice={"type": "function", "function": {"name": "weather"}}
    ),
    "no tool": Request(ASK, GREEDY, tools=[TOOL], tool_choice="none"),
}  # fmt: skip


@pytest.fixture(scope="module")
def local(folder):
    with open_model(folder, cache=None) as model:
        yield model


@pytest.fixture(scope="module")
def remote(server):
    with open_model(f"{server.url}#tiny", remote=RemoteSettings(retries=0), cache=None) as model:
        yield model


def without_names_of_calls(choices):
    """A call's id is any text that no other call has."""
    for choice in choices:
        for call in choice.tool_calls:
            assert call.pop("id")
    return choices


@pytest.mark.parametrize("name", REQUESTS)
def test_both_answer_alike_whole_and_in_pieces(local, remote, name):
    request = REQUESTS[name]
    (here,), (there,) = local.generate([request]), remote.generate([request])
    if request.top_logprobs is not None:
        assert there.message == here.message
        for one, other in zip(here.choices[0].logprobs, there.choices[0].logprobs, strict=True):
            assert one.token == other.token
            assert other.logprob == pytest.approx(one.logprob, abs=1e-4)
            assert [token for token, _ in other.top] == [token for token, _ in one.top]
    else:
        assert without_names_of_calls(there.choices) == without_names_of_calls(here.choices)
        assert there.usage == here.usage
    if request.n > 1:
        return
    for model in (local, remote):
        *pieces, last = model.stream(request)
        assert "".join(piece.text for piece in pieces) == here.text
        (streamed,) = without_names_of_calls(last.response.choices)
        assert streamed.message == here.message
        assert streamed.finish_reason == here.choices[0].finish_reason
        assert last.response.usage == here.usage


@pytest.mark.parametrize("name", ["schema", "tool", "this tool"])
def test_what_must_have_a_form_has_it(local, name):
    (response,) = local.generate([REQUESTS[name]])
    (choice,) = response.choices
    if name == "schema":
        assert json.loads(choice.text)["days"] in (1, 2, 3)
        return
    assert choice.finish_reason in ("tool_calls", "length")
    assert choice.tool_calls
    for call in choice.tool_calls:
        assert call["function"]["name"] in ("weather", "clock") if name == "tool" else ("weather",)
        assert isinstance(json.loads(call["function"]["arguments"]), dict)


def test_an_answer_can_be_appended_to_the_chat_and_the_chat_gone_on_with(local, remote):
    request = REQUESTS["this tool"]
    for model in (local, remote):
        message = model.generate([request])[0].message
        result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "晴"}
        (response,) = model.generate([Request([*ASK, message, result], GREEDY, tools=[TOOL])])
        assert response.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_both_score_and_tokenize_alike(local, remote):
    prompts = [ASK, "台灣最高的", "台灣最高的", "Water boils"]
    continuations = ["玉山", "山是", "水", " at 100"]
    assert remote.score(prompts, continuations) == pytest.approx(
        local.score(prompts, continuations), abs=1e-3
    )
    for prompt in prompts:
        assert remote.tokenize(prompt) == local.tokenize(prompt)
    assert remote.tokenize(ASK, [TOOL]) == local.tokenize(ASK, [TOOL])


def test_many_requests_side_by_side_are_not_mixed_up(local, remote):
    requests = [Request([{"role": "user", "content": f"{number} 玉山"}], ROLL) for number in range(24)]
    here, there = local.generate(requests), remote.generate(requests)
    assert [one.text for one in there] == [one.text for one in here]


def test_a_closed_stream_frees_the_servers_place(server, remote):
    endless = SamplingSettings(max_tokens=900, logit_bias={2: -100.0})
    stream = remote.stream(Request(ASK, endless))
    next(stream)
    stream.close()
    end = time.monotonic() + 20
    while server.gauge("jielong_running") and time.monotonic() < end:
        time.sleep(0.05)
    assert server.gauge("jielong_running") == 0


def test_a_refusal_of_the_server_is_one_sentence(remote):
    with pytest.raises(JielongError, match=r"answered 400: .*context"):
        remote.generate([Request("山" * 3000, GREEDY)])
    with pytest.raises(JielongError, match=r"context|too long|tokens"):
        remote.score(["山" * 3000], ["山"])
