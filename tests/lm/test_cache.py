"""Answers that are kept: asked once, by any number of processes, and never mixed up."""

import multiprocessing
import os
import signal
import sqlite3

import pytest
from scripted_server import Reply, chat, delta, events, scripted

from jielong.core.errors import JielongError
from jielong.generation import SamplingSettings
from jielong.lm import CachedModel, RemoteSettings, Request, default_cache, open_model
from jielong.lm.cache import AnswerStore
from jielong.lm.remote import RemoteModel

GREEDY = SamplingSettings(temperature=0.0)
CONTEXT = multiprocessing.get_context("fork")  # nothing is imported anew


def ask(text, settings=GREEDY, **more):
    return Request([{"role": "user", "content": text}], settings, **more)


def echo(_number, heard):
    """Says what it was told."""
    entry = {"token": "好", "logprob": -0.5, "top_logprobs": [{"token": "好", "logprob": -0.5}]}
    return Reply(chat(heard.body["messages"][0]["content"], logprobs={"content": [entry]}))


def cached(server, path, **settings):
    values = {"model": "m", "first_wait": 0.01, "retries": 1, **settings}
    return CachedModel(RemoteModel(server.url, RemoteSettings.parse(values)), path)


def test_a_request_is_sent_once(tmp_path):
    requests = [ask("a"), ask("b"), ask("a"), ask("c", top_logprobs=1)]
    with scripted(echo) as server:
        with cached(server, tmp_path / "cache") as model:
            first = model.generate(requests)
            assert len(server.heard) == 3
            assert [response.cached for response in first] == [False, False, True, False]
        with cached(server, tmp_path / "cache") as model:
            told = []
            again = model.generate([*requests, ask("d")], lambda index, _: told.append(index))
            assert len(server.heard) == 4
            assert [response.cached for response in again] == [True] * 4 + [False]
            assert [response.choices for response in again[:4]] == [response.choices for response in first]
            assert sorted(told) == [0, 1, 2, 3, 4]
            assert model.usage == again[4].usage, "what is kept takes nothing"


def test_whatever_the_answer_depends_on_makes_another_key(tmp_path):
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    requests = [
        ask("a"), ask("b"), ask("a", n=2), ask("a", SamplingSettings(temperature=0.0, max_tokens=9)),
        ask("a", SamplingSettings(seed=1)), ask("a", SamplingSettings(seed=2)), ask("a", tools=[tool]),
        ask("a", tools=[tool], tool_choice="none"), ask("a", schema={"type": "object"}),
        ask("a", top_logprobs=2),
    ]  # fmt: skip
    with scripted(echo) as server:
        for settings in ({}, {"model": "other"}, {"extra_body": {"x": 1}}, {"fields": {"top_p": None}}):
            with cached(server, tmp_path / "cache", **settings) as model:
                assert not any(response.cached for response in model.generate(requests))
    with scripted(echo) as other, cached(other, tmp_path / "cache") as model:
        assert not model.generate([ask("a")])[0].cached


def test_only_what_repeats_is_kept(tmp_path):
    with scripted(echo) as server:
        with cached(server, tmp_path / "cache", fields={"seed": None}) as model:
            for request in (ask("a", None), ask("a", SamplingSettings(temperature=1.0))):
                first, second = model.generate([request, request])
                assert not first.cached
                assert not second.cached
        assert len(server.heard) == 4


def test_what_was_answered_before_a_failure_is_kept(tmp_path):
    def answer(number, heard):
        return Reply({"error": "no"}, 400, delay=0.1) if number == 2 else echo(number, heard)

    with scripted(answer) as server, cached(server, tmp_path / "cache", concurrency=1) as model:
        with pytest.raises(JielongError, match="answered 400"):
            model.generate([ask(text) for text in "abcd"])
        kept = [response.cached for response in model.generate([ask(text) for text in "abcd"])]
        assert kept == [True, True, False, False]


def test_a_stream_is_kept_when_it_ended_and_comes_back_at_once(tmp_path):
    pieces = events(delta("好", reasoning_content="想"), delta("吃"), delta(finish="stop"))
    with scripted(Reply(pieces=pieces)) as server, cached(server, tmp_path / "cache") as model:
        broken_off = model.stream(ask("a"))
        next(broken_off)
        broken_off.close()
        first = list(model.stream(ask("a")))
        assert len(server.heard) == 2
        again = list(model.stream(ask("a")))
        (whole,) = model.generate([ask("a")])
        assert len(server.heard) == 2
        assert "".join(chunk.text for chunk in again) == "".join(chunk.text for chunk in first) == "好吃"
        assert again[0].reasoning == "想"
        assert again[-1].response == whole
        assert again[-1].response.choices == first[-1].response.choices
        assert (whole.cached, first[-1].response.cached) == (True, False)


def test_scores_are_kept(tmp_path):
    def score(_number, heard):
        if heard.path == "/tokenize":
            return Reply({"tokens": [1]})
        return Reply({"choices": [{"text": "", "logprobs": {"token_logprobs": [None, -1.5, -9.0]}}]})

    with scripted(score) as server, cached(server, tmp_path / "cache") as model:
        assert model.score(["a", "b", "a"], ["x", "y", "x"]) == [-1.5] * 3
        asked = len(server.heard)
        assert asked == 2 * 3
        assert model.score(["b", "a"], ["y", "x"]) == [-1.5] * 2
        assert len(server.heard) == asked


def test_no_key_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("JIELONG_API_KEY", "sk-very-secret")
    with scripted(echo) as server, cached(server, tmp_path / "cache") as model:
        model.generate([ask("a")])
        assert b"very-secret" not in (tmp_path / "cache").read_bytes()
        assert server.heard[0].headers["Authorization"].endswith("very-secret")


def test_the_cache_can_be_turned_off_and_has_a_usual_place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with scripted(echo) as server:
        for cache, requests in (("default", 1), ("default", 1), (None, 2), (None, 3), (tmp_path / "own", 4)):
            with open_model(f"{server.url}#m", cache=cache) as model:
                model.generate([ask("a")])
                assert len(server.heard) == requests
    assert default_cache().parent.parent == tmp_path
    assert default_cache().exists()


# --- several processes


def write(path, writer, count):
    store = AnswerStore(path)
    for number in range(count):
        store.put(f"{writer}-{number}", {"text": "好" * 50})
        store.put(f"shared-{number}", {"writer": writer})


def write_for_ever(path):
    store = AnswerStore(path)
    for number in range(1 << 40):
        store.put(f"{os.getpid()}-{number}", "好" * 100_000)


def test_many_processes_write_one_cache(tmp_path):
    path = tmp_path / "folder" / "cache"
    processes = [CONTEXT.Process(target=write, args=(path, writer, 30)) for writer in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    store = AnswerStore(path)
    found = store.get([f"{writer}-{number}" for writer in range(3) for number in range(30)])
    assert len(found) == 90
    assert all(value == {"text": "好" * 50} for value in found.values())
    assert len(store.get([f"shared-{number}" for number in range(1000)])) == 30


def test_a_process_killed_while_it_writes_leaves_a_cache_that_works(tmp_path):
    path = tmp_path / "cache"
    store = AnswerStore(path)
    process = CONTEXT.Process(target=write_for_ever, args=(path,))
    process.start()
    while not store.get([f"{process.pid}-{number}" for number in range(20, 25)]):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store.put("after", 1)
    assert store.get(["after", f"{process.pid}-3"]) == {"after": 1, f"{process.pid}-3": "好" * 100_000}
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_no_cache_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "cache"
    path.write_text("hello " * 1000)
    with pytest.raises(JielongError, match=r"the cache .*cache cannot be used .*; remove it"):
        AnswerStore(path).get(["a"])
    with pytest.raises(JielongError, match="cannot be used"):
        AnswerStore(path / "below").put("a", 1)
