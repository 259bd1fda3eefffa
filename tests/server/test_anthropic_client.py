"""Anthropic's own client against a real server."""

import json

import anthropic
import httpx
import pytest

MODEL = "tiny"
ASK = [{"role": "user", "content": "台灣最高的山？"}]
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"enum": ["Taipei", "Kaohsiung"]}, "days": {"enum": [1, 2, 3]}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
}


@pytest.fixture(scope="module")
def claude(server) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=server.url, api_key="any", max_retries=0, timeout=200)


def wanted(rolls=(), **options):
    """A request; how tokens are rolled is no argument of the client's (any more), so it goes beside."""
    return {
        "model": MODEL,
        "messages": ASK,
        "max_tokens": 12,
        "extra_body": {"seed": 5, **dict(rolls)},
        **options,
    }


def ask(claude, rolls=(), **options):
    return claude.messages.create(**wanted(rolls, **options))


def test_a_message_is_what_chat_completions_answers(claude, client):
    system = "你是山。"
    rolls = {"temperature": 0.9, "top_k": 50, "top_p": 0.9}
    said = ask(claude, rolls, system=system)
    same = client.chat.completions.create(
        model=MODEL, messages=[{"role": "system", "content": system}, *ASK], max_tokens=12, temperature=0.9,
        top_p=0.9, seed=5, extra_body={"top_k": 50},
    )  # fmt: skip
    [block] = said.content
    assert block.text == same.choices[0].message.content
    assert (said.role, said.type, said.model) == ("assistant", "message", MODEL)
    assert said.stop_reason == {"length": "max_tokens", "stop": "end_turn"}[same.choices[0].finish_reason]
    usage = said.usage
    assert usage.input_tokens + usage.cache_read_input_tokens == same.usage.prompt_tokens
    assert usage.output_tokens == same.usage.completion_tokens
    blocks = [{"type": "text", "text": system, "cache_control": {"type": "ephemeral"}}]
    question = [{"type": "text", "text": "台灣最高"}, {"type": "text", "text": "的山？"}]
    in_blocks = ask(claude, rolls, system=blocks, messages=[{"role": "user", "content": question}])
    assert in_blocks.content == said.content


def test_why_an_answer_ended_is_told(claude):
    whole = ask(claude, max_tokens=40).content[0].text
    assert ask(claude, max_tokens=1).stop_reason == "max_tokens"
    cut = ask(claude, max_tokens=40, stop_sequences=["從不出現", whole[4:6]])
    assert (cut.stop_reason, cut.stop_sequence) == ("stop_sequence", whole[4:6])
    assert cut.content[0].text == whole[: whole.index(whole[4:6])]
    ended = ask(claude, rolls={"logit_bias": {"2": 100}})
    assert (ended.stop_reason, ended.stop_sequence, ended.content) == ("end_turn", None, [])
    long = [{"role": "user", "content": "山" * 900}]
    full = ask(claude, {"logit_bias": {"2": -100}}, max_tokens=10_000, messages=long)
    assert full.stop_reason == "model_context_window_exceeded"


def test_a_stream_adds_up_to_the_whole_message(claude):
    whole = ask(claude, max_tokens=30)
    with claude.messages.stream(**wanted(max_tokens=30)) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert [block.text for block in final.content] == [block.text for block in whole.content]
    assert (final.stop_reason, final.usage.output_tokens) == (whole.stop_reason, whole.usage.output_tokens)
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    raw = list(ask(claude, max_tokens=30, stream=True))
    assert "".join(event.delta.text for event in raw if event.type == "content_block_delta") == (
        whole.content[0].text
    )


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_tools_are_called_and_their_results_taken_back(claude, client, choice):
    options = {"tools": [WEATHER], "tool_choice": {**choice, "disable_parallel_tool_use": True}}
    options |= {"max_tokens": 200}
    first = ask(claude, **options)
    assert first.stop_reason == "tool_use"
    [call] = first.content
    assert (call.type, call.name) == ("tool_use", "weather")
    assert call.input["city"] in {"Taipei", "Kaohsiung"}
    assert call.input["days"] in {1, 2, 3}
    with claude.messages.stream(**wanted(**options)) as stream:
        [streamed] = stream.get_final_message().content
    assert (streamed.name, streamed.input) == (call.name, call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "晴"}]}
    history = [
        *ASK,
        {"role": "assistant", "content": [{"type": "text", "text": "好"}, *first.content]},
        {"role": "user", "content": [result, {"type": "text", "text": "那明天？"}]},
    ]
    greedy = {"temperature": 0}
    answer = ask(claude, greedy, messages=history, tools=[WEATHER], tool_choice={"type": "none"})
    function = {"name": "weather", "arguments": json.dumps(call.input)}
    same = client.chat.completions.create(
        model=MODEL, max_tokens=12, temperature=0, messages=[
            *ASK,
            {"role": "assistant", "content": "好",
             "tool_calls": [{"id": call.id, "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": call.id, "content": "晴"},
            {"role": "user", "content": "那明天？"},
        ],
    )  # fmt: skip
    assert answer.content[0].text == same.choices[0].message.content


def test_texts_and_tool_calls_are_blocks_of_their_own(claude, engine):
    # Calls are made likely, but not certain, at any place; after one, another is.
    likely = {
        str(engine.tokenizer.special_tokens["<tool_call>"]): 4,
        str(engine.tokenizer.encode("\n")[0]): 4,
    }
    seen = set()
    for seed in range(4):
        options = wanted({"logit_bias": likely, "seed": seed}, tools=[WEATHER], max_tokens=120)
        with claude.messages.stream(**options) as stream:
            events = [(event.type, event.index) for event in stream if hasattr(event, "index")]
            final = stream.get_final_message()
        content = final.content
        kinds = [block.type for block in content]
        seen.add(tuple(kinds))
        # Half a call, where there was no room for the whole of it, is text.
        assert "text" not in (kinds[1:-1] if final.stop_reason == "max_tokens" else kinds[1:])
        assert all(block.input["days"] in {1, 2, 3} for block in content if block.type == "tool_use")
        for index in range(len(content)):
            told = [kind for kind, place in events if place == index]
            assert (told[0], told[-1]) == ("content_block_start", "content_block_stop")
            assert told.count("content_block_start") == told.count("content_block_stop") == 1
    assert any(kinds[:2] == ("text", "tool_use") for kinds in seen), seen
    assert any(kinds.count("tool_use") > 1 for kinds in seen), seen


def test_an_answer_follows_a_schema(claude):
    form = {"type": "json_schema", "schema": WEATHER["input_schema"]}
    said = ask(claude, max_tokens=200, output_config={"format": form})
    assert json.loads(said.content[0].text)["days"] in {1, 2, 3}


def test_tokens_are_counted_as_they_will_be_read(claude):
    for options in ({}, {"system": "山"}, {"tools": [WEATHER]}):
        counted = claude.messages.count_tokens(model=MODEL, messages=ASK, **options).input_tokens
        usage = ask(claude, max_tokens=1, **options).usage
        assert counted == usage.input_tokens + usage.cache_read_input_tokens


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [*ASK, {"role": "assistant", "content": "玉"}]}, "the last of the messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages.0"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "山" * 3000}]}, "shorten"),
        ({"tools": [WEATHER, WEATHER]}, "same name"),
        ({"tool_choice": {"type": "any"}}, "no tools"),
        ({"tool_choice": {"type": "tool", "name": "clock"}, "tools": [WEATHER]}, "clock"),
        ({"rolls": {"temprature": 1}}, "temprature"),
        ({"stop_sequences": ["x"] * 17}, "stop_sequences"),
    ],
)
def test_a_refusal_has_anthropics_shape(claude, change, words):
    with pytest.raises(anthropic.BadRequestError, match=words) as refusal:
        ask(claude, **change)
    assert refusal.value.body["type"] == "error"
    assert refusal.value.body["error"]["type"] == "invalid_request_error"


def test_other_errors_have_anthropics_shape(claude, server):
    with pytest.raises(anthropic.NotFoundError, match="claude-9") as refusal:
        ask(claude, model="claude-9")
    assert refusal.value.body["error"]["type"] == "not_found_error"
    large = httpx.post(f"{server.url}/v1/messages", content=b" " * (9 << 20), timeout=200)
    assert (large.status_code, large.json()["error"]["type"]) == (413, "request_too_large")
    pattern = {"type": "string", "pattern": "^((a{1,1000}){1,1000}){1,1000}$"}
    quote = server.post("/tokenize", {"prompt": '"'}).json()["tokens"]
    failing = {
        "max_tokens": 300,
        "output_config": {"format": {"type": "json_schema", "schema": pattern}},
        "rolls": {"temperature": 0, "logit_bias": {str(token): -100 for token in quote}},
    }
    with pytest.raises(anthropic.InternalServerError, match="too many"):
        ask(claude, **failing)
    with pytest.raises(anthropic.APIStatusError, match="too many") as told:
        list(ask(claude, stream=True, **failing))
    assert told.value.body["error"]["type"] == "api_error"
