"""A server whose answers are guessed ahead by a smaller model answers as one without."""

import json
import time

import pytest
from test_openai_client import ASK, MODEL, TOOLS, chat, text_of_stream

from conftest import running
from jielong.generation import Request, SamplingSettings, load_engine


def test_a_server_that_guesses_ahead_answers_the_same(folder):
    """The draft model is the same one, so that most guesses are right and come several at a time."""
    engine = load_engine(folder, "int8")
    prompt = engine.tokenizer.encode_chat(ASK, add_generation_prompt=True)
    [expected] = engine.run([Request(prompt, SamplingSettings(max_tokens=60, temperature=0))])
    with running(folder, "--weights", "int8", "--draft", folder) as server:
        client = server.client()
        greedy = chat(client, temperature=0, max_tokens=60, logprobs=True, top_logprobs=3).choices[0]
        assert greedy.message.content == expected.text
        scores = engine.token_logprobs([[*prompt, *expected.ids]])[0][len(prompt) :]
        for entry, score in zip(greedy.logprobs.content, scores, strict=False):
            assert entry.logprob == pytest.approx(score.logprob, abs=0.05)
            assert len(entry.top_logprobs) == 3

        whole = chat(client, seed=3, max_tokens=30).choices[0].message.content
        assert text_of_stream(chat(client, seed=3, max_tokens=30, stream=True)) == whole
        cut = chat(client, seed=3, max_tokens=30, stop=[whole[4:6]]).choices[0]
        assert cut.message.content == whole[: whole.index(whole[4:6])]
        assert cut.finish_reason == "stop"

        called = chat(client, tools=TOOLS, tool_choice="required", seed=1, max_tokens=200).choices[0]
        arguments = json.loads(called.message.tool_calls[0].function.arguments)
        assert arguments["city"] in {"Taipei", "Kaohsiung"}

        end = {str(token): -100 for token in engine.end_ids}
        stream = client.chat.completions.create(
            model=MODEL, messages=ASK, stream=True, max_tokens=900, logit_bias=end
        )
        next(iter(stream))
        stream.close()
        deadline = time.monotonic() + 60
        while server.gauge("jielong_running"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert server.gauge("jielong_cancelled_total") == 1
