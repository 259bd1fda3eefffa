"""OpenAI's own client against a real server."""

import base64
import json
import math
import struct

import openai
import pytest
from pydantic import BaseModel, Field

from jielong.generation.request import Request
from jielong.generation.settings import SamplingSettings

MODEL = "tiny"
ASK = [{"role": "user", "content": "台灣最高的山？"}]
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"enum": ["Taipei", "Kaohsiung"]},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["city", "days"],
    },
}
TOOLS = [{"type": "function", "function": WEATHER}]


def chat(client, **options):
    return client.chat.completions.create(**{"model": MODEL, "messages": ASK, "max_tokens": 12, **options})


def text_of_stream(chunks) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_the_model_is_listed(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_a_chat_is_answered_as_the_engine_answers_it(client, engine):
    answer = chat(client, seed=5, temperature=1.0, n=2)
    prompt = engine.tokenizer.encode_chat(ASK, add_generation_prompt=True)
    settings = SamplingSettings(max_tokens=12, seed=5, temperature=1.0)
    expected = engine.run([Request(prompt, settings, stream=number) for number in range(2)])
    assert [choice.message.content for choice in answer.choices] == [one.text for one in expected]
    assert [choice.finish_reason for choice in answer.choices] == [one.finish_reason for one in expected]
    assert answer.usage.prompt_tokens == len(prompt)
    assert answer.usage.completion_tokens == sum(len(one.ids) for one in expected)


def test_usage_says_what_of_a_prompt_was_known(client):
    def cached(text: str) -> list[tuple[int, int]]:
        ask = [{"role": "user", "content": text}]
        counts = [chat(client, messages=ask, max_tokens=1).usage]
        *_, last = chat(client, messages=ask, n=2, stream=True, stream_options={"include_usage": True})
        counts.append(last.usage)
        counts.append(client.completions.create(model=MODEL, prompt=[text, "x" + text], max_tokens=1).usage)
        pairs = [(one.prompt_tokens, one.prompt_tokens_details.cached_tokens) for one in counts]
        said = client.responses.create(model=MODEL, input=text, max_output_tokens=1).usage
        return [*pairs, (said.input_tokens, said.input_tokens_details.cached_tokens)]

    first, again = cached("不曾有人問過的問題。" * 20), cached("不曾有人問過的問題。" * 20)
    assert [tokens for tokens, _ in first] == [tokens for tokens, _ in again]
    assert [known for _, known in first][::2] == [0, 0]
    for tokens, known in (first[1], *again[:2], again[3]):
        assert tokens - 32 <= known < tokens
        assert known % 32 == 0
    assert again[2][0] - 64 <= again[2][1] < again[2][0]  # of two prompts


def test_a_stream_says_what_the_whole_answer_says(client):
    whole = chat(client, seed=3)
    chunks = list(chat(client, seed=3, stream=True, stream_options={"include_usage": True}))
    assert text_of_stream(chunks) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_several_answers_are_streamed_apart(client):
    whole = chat(client, seed=9, n=3)
    texts = ["", "", ""]
    for chunk in chat(client, seed=9, n=3, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]
    assert len(set(texts)) == 3


def test_the_same_seed_gives_the_same_answer_and_no_seed_another(client):
    texts = [chat(client, seed=seed).choices[0].message.content for seed in (7, 7, 8, -7)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3
    free = {chat(client, temperature=1.5).choices[0].message.content for _ in range(3)}
    assert len(free) == 3


def test_an_answer_ends_before_a_stop_string(client):
    whole = chat(client, seed=3, max_tokens=30).choices[0].message.content
    stop = whole[4:6]
    cut = chat(client, seed=3, max_tokens=30, stop=[stop]).choices[0]
    assert cut.message.content == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


def test_logit_bias_forces_a_token(client, engine):
    [token] = engine.tokenizer.encode("玉山")
    answer = chat(client, max_tokens=3, temperature=0, logit_bias={str(token): 100})
    assert answer.choices[0].message.content == "玉山" * 3


def test_penalties_forbid_repetition(client):
    ids = [entry.bytes for entry in chat(
        client, max_tokens=40, temperature=0, presence_penalty=2, frequency_penalty=2, logprobs=True
    ).choices[0].logprobs.content]  # fmt: skip
    free = [entry.bytes for entry in chat(
        client, max_tokens=40, temperature=0, presence_penalty=-2, frequency_penalty=-2, logprobs=True
    ).choices[0].logprobs.content]  # fmt: skip
    assert len({bytes(one) for one in ids}) > len({bytes(one) for one in free})


def test_logprobs_are_those_of_the_model(client, engine):
    answer = chat(client, seed=4, logprobs=True, top_logprobs=5).choices[0]
    entries = answer.logprobs.content
    prompt = engine.tokenizer.encode_chat(ASK, add_generation_prompt=True)
    settings = SamplingSettings(max_tokens=12, seed=4, temperature=0.7)
    [completion] = engine.run([Request(prompt, settings)])
    shown = [token for token in completion.ids if token not in engine.end_ids]
    assert [bytes(entry.bytes) for entry in entries] == list(map(engine.tokenizer.token_bytes, shown))
    scores = engine.token_logprobs([[*prompt, *completion.ids]], 5)[0][len(prompt) :]
    for entry, score in zip(entries, scores, strict=False):
        assert entry.logprob == pytest.approx(score.logprob, abs=1e-4)
        assert len(entry.top_logprobs) == 5
        assert [top.logprob for top in entry.top_logprobs] == pytest.approx(
            [logprob for _, logprob in score.top], abs=1e-4
        )
    streamed = [
        entry
        for chunk in chat(client, seed=4, logprobs=True, top_logprobs=5, stream=True)
        if chunk.choices and chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content
    ]
    assert [entry.bytes for entry in streamed] == [entry.bytes for entry in entries]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_forced_tool_call_fits_its_schema(client, choice):
    for seed in range(3):
        answer = chat(client, tools=TOOLS, tool_choice=choice, seed=seed, max_tokens=200).choices[0]
        assert answer.finish_reason == "tool_calls"
        assert answer.message.content is None
        for call in answer.message.tool_calls:
            arguments = json.loads(call.function.arguments)
            assert call.function.name == "weather"
            assert arguments["city"] in {"Taipei", "Kaohsiung"}
            assert 1 <= arguments["days"] <= 9


def test_a_tool_call_is_streamed_and_its_result_is_taken_back(client):
    options = {"tools": TOOLS, "tool_choice": "required", "seed": 1, "max_tokens": 200}
    options["parallel_tool_calls"] = False
    whole = chat(client, **options).choices[0].message
    parts = [
        call
        for chunk in chat(client, stream=True, **options)
        if chunk.choices
        for call in chunk.choices[0].delta.tool_calls or ()
    ]
    assert [part.function.arguments for part in parts] == [whole.tool_calls[0].function.arguments]
    result = {"role": "tool", "tool_call_id": whole.tool_calls[0].id, "content": "晴"}
    history = [*ASK, whole.model_dump(), result]
    assert (
        chat(client, messages=history, tools=TOOLS, tool_choice="none").choices[0].message.role == "assistant"
    )


def test_without_a_choice_the_model_decides_whether_to_call(client, engine):
    opening = str(engine.tokenizer.special_tokens["<tool_call>"])
    options = {"tools": TOOLS, "n": 4, "seed": 2, "max_tokens": 200, "parallel_tool_calls": False}
    for answer in chat(client, logit_bias={opening: 100}, **options).choices:
        assert answer.finish_reason == "tool_calls"
        [call] = answer.message.tool_calls
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments)["city"] in {"Taipei", "Kaohsiung"}
    for answer in chat(client, logit_bias={opening: -100}, **options).choices:
        assert answer.message.content
        assert not answer.message.tool_calls
    # Without tools the same token opens nothing: it is text like any other.
    free = chat(client, logit_bias={opening: 100}, max_tokens=3).choices[0].message
    assert free.content == "<tool_call>" * 3
    assert not free.tool_calls


class City(BaseModel):
    name: str = Field(max_length=9)
    size: int = Field(ge=0, le=99)


def test_structured_output_is_parsed_by_the_client(client):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 5},
            "size": {"type": "integer", "minimum": 0, "maximum": 99},
        },
        "required": ["name", "size"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}}
    for seed in range(3):
        answer = chat(client, response_format=form, seed=seed, max_tokens=200).choices[0]
        assert answer.finish_reason == "stop"
        City.model_validate_json(answer.message.content)
    parsed = client.chat.completions.parse(
        model=MODEL, messages=ASK, response_format=City, seed=1, max_tokens=200, temperature=0.5,
    )  # fmt: skip
    assert isinstance(parsed.choices[0].message.parsed, City)


def test_json_object(client, engine):
    # What ends strings and objects is made likelier, so that the answers end; braces and quotes must fit.
    likely = {str(engine.tokenizer.encode(text)[0]): 12 for text in ('"', "}")}
    options = {"temperature": 1.5, "n": 8, "seed": 1, "max_tokens": 300, "logit_bias": likely}
    found = [
        json.loads(choice.message.content)
        for choice in chat(client, response_format={"type": "json_object"}, **options).choices
        if choice.finish_reason == "stop"
    ]
    assert len(found) > 4
    assert all(isinstance(one, dict) for one in found)
    assert any(found)
    with pytest.raises(ValueError, match=r"Expecting|Extra"):
        json.loads(chat(client, **options).choices[0].message.content)


def test_completions_take_texts_and_token_ids(client, engine):
    tokens = [engine.tokenizer.bos_id, *engine.tokenizer.encode("玉山")]
    options = {"model": MODEL, "max_tokens": 6, "temperature": 0}
    one = client.completions.create(prompt="玉山", **options).choices[0].text
    both = client.completions.create(prompt=[tokens, tokens], n=2, seed=1, **options)
    assert [choice.text for choice in both.choices] == [one] * 4
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert client.completions.create(prompt=tokens, **options).choices[0].text == one
    echoed = client.completions.create(prompt=["玉山", "玉山"], echo=True, **options)
    assert [choice.text for choice in echoed.choices] == ["玉山" + one] * 2
    streamed = client.completions.create(prompt="玉山", echo=True, stream=True, **options)
    assert "".join(chunk.choices[0].text for chunk in streamed) == "玉山" + one


def test_echo_scores_the_prompt(client, engine):
    tokens = engine.tokenizer.encode("台灣最高的山是玉山。Yushan")
    answer = client.completions.create(
        model=MODEL, prompt=[tokens], max_tokens=1, temperature=0, echo=True, logprobs=3
    ).choices[0]
    found = answer.logprobs
    scores = engine.token_logprobs([tokens], 3)[0]
    assert len(found.tokens) == len(tokens) + 1
    assert found.token_logprobs[0] is None
    assert found.token_logprobs[1:-1] == pytest.approx([score.logprob for score in scores[1:]], abs=1e-4)
    assert all(len(top) == 3 for top in found.top_logprobs[1:])
    assert found.text_offset[-1] == len("台灣最高的山是玉山。Yushan")
    total = engine.score([tokens[:3]], [tokens[3:]])[0]
    assert sum(found.token_logprobs[3:-1]) == pytest.approx(total, abs=1e-3)
    scored = client.completions.create(model=MODEL, prompt=[tokens], max_tokens=0, echo=True, logprobs=0)
    assert scored.choices[0].logprobs.token_logprobs[1:] == pytest.approx(
        found.token_logprobs[1:-1], abs=1e-4
    )


def test_embeddings_are_the_same_in_both_forms(client, server, engine):
    vectors = client.embeddings.create(model=MODEL, input=["玉山", "Yushan is high"])
    raw = server.post("/v1/embeddings", {"model": MODEL, "input": "玉山", "encoding_format": "base64"}).json()
    data = base64.b64decode(raw["data"][0]["embedding"])
    assert struct.unpack(f"<{len(data) // 4}f", data) == pytest.approx(vectors.data[0].embedding, abs=1e-5)
    for vector in vectors.data:
        assert math.hypot(*vector.embedding) == pytest.approx(1, abs=1e-5)
    mean = engine.embed([[engine.tokenizer.bos_id, *engine.tokenizer.encode("玉山")]])[0]
    assert vectors.data[0].embedding == pytest.approx((mean / mean.norm()).tolist(), abs=1e-5)


def test_responses_answer_as_chat_does(client):
    options = {"seed": 6, "temperature": 0.7}
    said = client.responses.create(
        model=MODEL, input="台灣最高的山？", max_output_tokens=12, store=False, extra_body=options
    )
    assert said.output_text == chat(client, **options).choices[0].message.content
    assert said.store is False
    assert said.status in {"completed", "incomplete"}
    events = list(
        client.responses.create(
            model=MODEL, input=ASK, max_output_tokens=12, stream=True, top_logprobs=2, extra_body=options
        )
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == said.output_text
    assert events[-1].response.output_text == said.output_text
    assert events[-1].response.usage == said.usage
    assert events[-1].response.output[0].content[0].logprobs


def test_responses_call_tools_and_take_their_results(client):
    tools = [{"type": "function", **WEATHER}]
    first = client.responses.create(
        model=MODEL, input="hi", instructions="Call.", tools=tools, tool_choice="required",
        parallel_tool_calls=False, max_output_tokens=200,
    )  # fmt: skip
    [call] = first.output
    assert call.type == "function_call"
    assert json.loads(call.arguments)["city"] in {"Taipei", "Kaohsiung"}
    with client.responses.stream(
        model=MODEL, max_output_tokens=5, tools=tools, tool_choice="none",
        input=[
            {"role": "user", "content": "hi"},
            *first.output,
            {"type": "function_call_output", "call_id": call.call_id, "output": "晴"},
        ],
    ) as stream:  # fmt: skip
        assert [event.type for event in stream][-1] in {"response.completed", "response.incomplete"}


def test_responses_follow_a_schema(client):
    said = client.responses.parse(
        model=MODEL, input="hi", text_format=City, max_output_tokens=200, extra_body={"seed": 1}
    )
    assert isinstance(said.output_parsed, City)


def test_nothing_is_stored(client):
    with pytest.raises(openai.BadRequestError, match="nothing is stored"):
        client.responses.create(model=MODEL, input="hi", previous_response_id="resp_1")
    with pytest.raises(openai.NotFoundError, match="nothing is stored"):
        client.responses.retrieve("resp_1")


def test_tokens_there_and_back(server, engine):
    text = "玉山<|im_end|>"
    tokens = server.post("/tokenize", {"prompt": text}).json()["tokens"]
    assert tokens == engine.tokenizer.encode(text, special=True)
    assert server.post("/detokenize", {"tokens": tokens}).json() == {"prompt": text}
    chat_tokens = server.post("/tokenize", {"messages": ASK}).json()["tokens"]
    assert chat_tokens == engine.tokenizer.encode_chat(ASK, add_generation_prompt=True)
