"""What a server does not do: every refusal is a 4xx or 503 in OpenAI's shape, with a sentence."""

import json
import socket
import time
from contextlib import suppress

import httpx
import openai
import pytest
from server_process import CONTEXT, forked

ASK = [{"role": "user", "content": "hi"}]
CHAT = {"model": "tiny", "messages": ASK, "max_tokens": 2}
JSON = {"content-type": "application/json"}
DEEP = "[" * 100_000


def refused(answer: httpx.Response, status: int, *words: str) -> dict:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    for word in words:
        assert word in error["message"], error["message"]
    return error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"messages": "hi"}, ["messages"]),
        ({"messages": []}, ["messages"]),
        ({"messages": [{"role": "robot", "content": "x"}]}, ["messages.0", "robot"]),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ["messages.0"]),
        ({"messages": [{"role": "user", "content": "half \ud800"}]}, []),
        ({"max_tokens": "many"}, ["max_tokens"]),
        ({"max_tokens": 0}, ["max_tokens", "greater than or equal to 1"]),
        ({"max_tokens": 1e300}, ["max_tokens"]),
        ({"max_tokens": 10**30}, ["max_tokens"]),
        ({"temperature": -1}, ["temperature"]),
        ({"temperature": "hot"}, ["temperature"]),
        ({"n": 129}, ["129 answers", "at most 128"]),
        ({"top_logprobs": 3}, ["needs logprobs"]),
        ({"logit_bias": {"x": 1}}, ["token ids"]),
        ({"logit_bias": {"999999": 1}}, ["vocabulary"]),
        ({"stop": ["x"] * 17}, ["stop"]),
        ({"temprature": 1}, ["temprature"]),
        ({"tool_choice": "required"}, ["no tools"]),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, ["tools.0.function.name"]),
        ({"response_format": {"type": "xml"}}, ["response_format"]),
        ({"stream_options": {"include_usage": True}}, ["needs stream"]),
    ],
)
def test_a_wrong_chat_request_is_told_what_is_wrong(server, change, words):
    body = json.dumps({**CHAT, **change})
    refused(httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=JSON), 400, *words)


def test_a_schema_that_cannot_be_followed_is_refused(server):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}
    refused(server.post("/v1/chat/completions", {**CHAT, "response_format": form}), 400, "schema")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", DEEP.encode(), b'{"model": NaN}', b"3"])
def test_what_is_not_a_json_object_is_refused(server, body):
    refused(httpx.post(f"{server.url}/v1/chat/completions", content=body, headers=JSON), 400)


def test_a_form_of_a_web_page_is_refused(server):
    form = {"content-type": "text/plain"}
    answer = httpx.post(f"{server.url}/v1/chat/completions", content=json.dumps(CHAT), headers=form)
    refused(answer, 400, "application/json")


def test_an_unknown_model_or_address_is_404(server, client):
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings"):
        body = {"model": "gpt-9", "messages": ASK, "prompt": "x", "input": "x"}
        wanted = {"/v1/chat/completions": "messages", "/v1/completions": "prompt"}.get(path, "input")
        error = refused(server.post(path, {k: body[k] for k in ("model", wanted)}), 404, "gpt-9", "tiny")
        assert error["code"] == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")
    refused(httpx.get(f"{server.url}/v2/x"), 404)
    refused(httpx.get(f"{server.url}/v1/completions"), 405)


def test_a_prompt_that_is_too_long_is_refused_and_never_cut(server):
    text = "玉山 " * CONTEXT
    chat = {**CHAT, "messages": [{"role": "user", "content": text}]}
    for path, body in [
        ("/v1/chat/completions", chat),
        ("/v1/completions", {"model": "tiny", "prompt": text}),
        ("/v1/responses", {"model": "tiny", "input": text}),
        ("/v1/embeddings", {"model": "tiny", "input": text}),
    ]:
        error = refused(server.post(path, body), 400, str(CONTEXT), "shorten")
        assert error["code"] == "context_length_exceeded"


def test_wrong_prompts_of_completions_are_refused(server):
    for prompt in ([], [[]], [10**6], [-1], [1, "a"], [[1], "a"], {"a": 1}, [1.5], None):
        refused(server.post("/v1/completions", {"model": "tiny", "prompt": prompt}), 400)
    refused(server.post("/v1/completions", {"model": "tiny", "prompt": ["a"] * 129}), 400, "129 answers")
    refused(server.post("/v1/embeddings", {"model": "tiny", "input": []}), 400)
    refused(server.post("/detokenize", {"tokens": [10**6]}), 400)


def test_a_wrong_stream_gets_its_own_status(server):
    refused(server.post("/v1/chat/completions", {**CHAT, "stream": True, "n": 129}), 400, "129")


def test_an_answer_that_fails_on_the_way_is_the_servers_fault_and_fails_alone(server, client):
    # The pattern is well-formed; matching it needs more and more states, until there are too many.
    pattern = {"type": "string", "pattern": "^((a{1,1000}){1,1000}){1,1000}$"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": pattern}}
    quote = server.post("/tokenize", {"prompt": '"'}).json()["tokens"]
    body = {**CHAT, "max_tokens": 300, "temperature": 0}
    failing = {**body, "response_format": form, "logit_bias": {str(token): -100 for token in quote}}
    whole = client.chat.completions.create(**body, logit_bias={2: -100}).choices[0].message.content
    beside = client.chat.completions.create(**body, logit_bias={2: -100}, stream=True)
    pieces = [next(beside).choices[0].delta.content]
    error = refused(server.post("/v1/chat/completions", failing), 500, "too many")
    assert error["type"] == "server_error"
    with pytest.raises(openai.APIError, match="too many") as told:
        list(client.chat.completions.create(**failing, stream=True))
    assert told.value.body["type"] == "server_error"
    with pytest.raises(openai.APIError, match="too many"):
        list(
            client.responses.create(
                model="tiny",
                input="hi",
                stream=True,
                text={"format": {"type": "json_schema", "name": "x", "schema": pattern}},
                extra_body={"temperature": 0, "logit_bias": failing["logit_bias"]},
            )
        )
    assert "".join(pieces + [chunk.choices[0].delta.content or "" for chunk in beside]) == whole


@pytest.fixture(scope="module")
def limited(folder):
    sizes = ["--set", "max_body_bytes=20000", "--set", "body_seconds=0.5"]
    shares = ["--set", "max_client_requests=2", "--set", "client_tokens_per_minute=600"]
    with forked(folder, *sizes, *shares) as server:
        yield server


def test_a_body_that_is_too_large_is_413(limited):
    big = b'{"model": "' + b"x" * 20_000 + b'"}'
    refused(httpx.post(f"{limited.url}/v1/completions", content=big, headers=JSON), 413, "20000")

    def pieces():
        for _ in range(300):
            yield b" " * 100

    with suppress(httpx.WriteError):  # the server may hang up before all of it is sent
        refused(httpx.post(f"{limited.url}/v1/completions", content=pieces(), headers=JSON), 413)


def test_a_body_that_does_not_come_is_408(limited):
    host, port = limited.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as line:
        line.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        assert line.recv(100).startswith(b"HTTP/1.1 408 ")


def test_one_client_cannot_take_everything(limited):
    client = limited.client()
    options = {"model": "tiny", "messages": ASK, "max_tokens": 1000, "stream": True}
    first, second = (client.chat.completions.create(**options) for _ in range(2))
    with pytest.raises(openai.RateLimitError) as refusal:
        client.chat.completions.create(**options)
    assert int(refusal.value.response.headers["retry-after"]) >= 1
    first.close(), second.close()
    deadline = time.monotonic() + 20
    while limited.gauge("jielong_running") and time.monotonic() < deadline:
        time.sleep(0.02)
    # Its tokens a minute are counted too.
    with pytest.raises(openai.RateLimitError, match="tokens a minute"):
        for _ in range(60):
            client.completions.create(model="tiny", prompt="a " * 60, max_tokens=20)


def test_a_request_has_its_time(folder):
    with forked(folder, "--set", "request_seconds=0.05") as server:
        body = {**CHAT, "max_tokens": 900, "n": 64}
        error = refused(server.post("/v1/chat/completions", body), 503, "0.05 s")
        assert error["code"] == "timeout"
        streamed = server.post("/v1/chat/completions", {**body, "stream": True})
        assert streamed.status_code == 200
        assert '"code":"timeout"' in streamed.text.strip().splitlines()[-1]
