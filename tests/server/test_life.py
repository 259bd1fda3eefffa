"""Keys, web pages, signals, clients that leave."""

import os
import signal
import subprocess
import sys
import threading
import time

import httpx
import openai
import pytest
from server_process import forked

ASK = [{"role": "user", "content": "hi"}]
ANYWHERE = "0.0.0.0"  # noqa: S104
NO_END = {"2": -100}
"""Forbids <|im_end|>."""


def wait_for(condition, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def endless(client, **options):
    """A stream that goes on until the context is full."""
    return client.chat.completions.create(
        model="tiny", messages=ASK, stream=True, logit_bias=NO_END, **{"max_tokens": 1000, **options}
    )


def test_a_client_that_leaves_frees_its_place(server):
    client = server.client()
    streams = [endless(client) for _ in range(4)]
    for stream in streams:
        next(iter(stream))
    assert wait_for(lambda: server.gauge("jielong_running") == 4)
    before = server.gauge("jielong_generated_tokens_total")
    for stream in streams:
        stream.close()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/v1/chat/completions",
            json={"model": "tiny", "messages": ASK, "max_tokens": 1000, "n": 8, "logit_bias": NO_END},
            timeout=0.3,
        )
    assert wait_for(lambda: server.gauge("jielong_running") + server.gauge("jielong_waiting") == 0)
    assert server.gauge("jielong_generated_tokens_total") - before < 4 * 900 + 8 * 900
    assert server.gauge("jielong_cancelled_total") >= 12


def test_web_pages_may_not_ask(server):
    for headers in ({"origin": "https://evil.example"}, {"host": "evil.example"}, {"host": "[::1"}):
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 403
    assert httpx.get(f"{server.url}/v1/models", headers={"origin": server.url}).status_code == 200


def test_beyond_this_machine_a_key_is_needed(folder):
    refused = subprocess.run(
        [sys.executable, "-m", "jielong", "serve", folder, "--host", ANYWHERE, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert refused.returncode == 2
    assert "JIELONG_API_KEY" in refused.stderr
    with forked(folder, "--host", ANYWHERE, "--cors", "https://chat.example", key="s3cret-鑰") as server:
        server.url = server.url.replace(ANYWHERE, "127.0.0.1")
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        wrong = ({"authorization": "Bearer wrong"}, {"authorization": "s3cret"}, {"x-api-key": "wrong"})
        for headers in ({}, *wrong):
            answer = httpx.get(f"{server.url}/v1/models", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        key = {"authorization": "Bearer s3cret-鑰".encode()}
        named = {"x-api-key": "s3cret-鑰".encode()}  # as Anthropic's clients send it
        assert httpx.get(f"{server.url}/v1/models", headers=named).status_code == 200
        for origin, status in (("https://chat.example", 200), ("https://evil.example", 403)):
            answer = httpx.get(f"{server.url}/v1/models", headers={**key, "origin": origin.encode()})
            assert answer.status_code == status
            assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
        # A browser asks first, without the key.
        asks = {"origin": "https://chat.example", "access-control-request-method": "POST"}
        allowed = httpx.options(f"{server.url}/v1/chat/completions", headers=asks)
        assert allowed.headers["access-control-allow-origin"] == "https://chat.example"


def test_asked_to_stop_the_server_lets_streams_end(server, folder):
    options = {"seed": 1, "max_tokens": 300}
    whole = "".join(chunk.choices[0].delta.content or "" for chunk in endless(server.client(), **options))
    with forked(folder) as other:
        stream = endless(other.client(), **options)
        pieces = [next(iter(stream)).choices[0].delta.content or ""]
        os.kill(other.process.pid, signal.SIGTERM)
        reader = threading.Thread(
            target=lambda: pieces.extend(chunk.choices[0].delta.content or "" for chunk in stream)
        )
        reader.start()
        assert wait_for(lambda: not accepts(other.url))
        reader.join(100)
        assert "".join(pieces) == whole
        assert other.wait() == 0


def accepts(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", timeout=5)
    except httpx.ConnectError:
        return False
    return True


def test_two_models_and_a_port_that_is_taken(folder):
    with forked(folder, f"other={folder}", "--set", "drain_seconds=0") as server:
        client = server.client()
        assert [model.id for model in client.models.list()] == ["tiny", "other"]
        answers = {
            client.completions.create(model=name, prompt="玉", temperature=0, max_tokens=5).choices[0].text
            for name in ("tiny", "other")
        }
        assert len(answers) == 1
        port = server.url.rpartition(":")[2]
        for arguments, words in (((folder, "--port", port), "in use"), ((folder, folder), "two models")):
            done = subprocess.run(
                [sys.executable, "-m", "jielong", "serve", *map(str, arguments)],
                capture_output=True,
                text=True,
                timeout=200,
                check=False,
            )
            assert done.returncode in (1, 2)
            assert words in done.stderr
            assert len(done.stderr.strip().splitlines()) == 1
        # Streams that take longer than they are given are cut.
        stream = endless(client, n=64)
        next(iter(stream))
        assert server.stop(signal.SIGINT) == 0


def test_metrics_and_description(server):
    description = httpx.get(f"{server.url}/openapi.json").json()
    assert "/v1/chat/completions" in description["paths"]
    httpx.get(f"{server.url}/v1/models/tiny")
    text = httpx.get(f"{server.url}/metrics").text
    assert 'jielong_requests_total{route="/v1/models/{name}",status="200"}' in text
    with pytest.raises(openai.NotFoundError):
        server.client().get("/../../etc/passwd", cast_to=object)
