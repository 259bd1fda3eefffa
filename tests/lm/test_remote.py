"""A remote model against a server that answers, refuses and fails as it is told."""

import json
import multiprocessing
import os
import signal
import threading
import time

import pytest
from scripted_server import Reply, chat, delta, events, scripted

from jielong.core.errors import JielongError, UsageError
from jielong.generation import SamplingSettings
from jielong.lm import RemoteSettings, Request, TokenLogprob, UnsupportedError, Usage
from jielong.lm.remote import RemoteModel

ASK = [{"role": "user", "content": "山？"}]
GREEDY = SamplingSettings(temperature=0.0, max_tokens=5)


def remote(server, **settings):
    values = {"model": "m", "first_wait": 0.01, "timeout": 5.0, "retries": 3, **settings}
    return RemoteModel(server.url, RemoteSettings.parse(values))


def test_a_request_goes_out_as_openai_has_it_and_the_answer_comes_back_whole():
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    entry = {"token": "好", "logprob": -0.5, "top_logprobs": [{"token": "好", "logprob": -0.5}]}
    answer = chat(None, message={"tool_calls": [call], "reasoning_content": "想"}, finish_reason="tool_calls",
                  logprobs={"content": [entry]})  # fmt: skip
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    request = Request(
        ASK, SamplingSettings(temperature=0.5, seed=3, max_tokens=9, stop=("。",), top_p=0.9), n=2,
        tools=[tool], tool_choice="required", schema={"type": "object"}, top_logprobs=1,
    )  # fmt: skip
    with scripted(Reply(answer)) as server, remote(server, extra_body={"user": "u"}) as model:
        (response,) = model.generate([request])
    assert server.heard[0].path == "/v1/chat/completions"
    assert server.heard[0].body == {
        "model": "m", "messages": ASK, "temperature": 0.5, "seed": 3, "max_tokens": 9, "stop": ["。"],
        "top_p": 0.9, "n": 2, "tools": [tool], "tool_choice": "required", "logprobs": True, "top_logprobs": 1,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        },
        "user": "u",
    }  # fmt: skip
    (choice,) = response.choices
    assert choice.message == {
        "role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "想"
    }  # fmt: skip
    assert (choice.text, choice.finish_reason, choice.tool_calls) == ("", "tool_calls", [call])
    assert [(token.token, token.logprob, token.top) for token in choice.logprobs] == [
        ("好", -0.5, [("好", -0.5)])
    ]


def test_a_text_is_completed_and_fields_are_named_as_the_server_wants():
    logprobs = {
        "tokens": ["a", "b"],
        "token_logprobs": [-1.0, -2.0],
        "top_logprobs": [{"x": -3.0, "a": -1.0}, {}],
    }
    answer = {"choices": [{"text": "ab", "finish_reason": "length", "logprobs": logprobs}]}
    names = {"max_tokens": "max_completion_tokens", "seed": None}
    with scripted(Reply(answer)) as server, remote(server, fields=names) as model:
        (response,) = model.generate([Request("從前", GREEDY, top_logprobs=2)])
    assert server.heard[0].path == "/v1/completions"
    assert server.heard[0].body == {
        "model": "m", "prompt": "從前", "temperature": 0.0, "max_completion_tokens": 5, "logprobs": 2
    }  # fmt: skip
    assert response.text == "ab"
    assert response.choices[0].logprobs[0].top == [("a", -1.0), ("x", -3.0)]
    assert response.usage == Usage()


def test_without_settings_the_server_decides_how_to_sample():
    with scripted(Reply(chat())) as server, remote(server) as model:
        model.generate([Request(ASK)])
        assert server.heard[0].body == {"model": "m", "messages": ASK}
        assert not model.repeats(Request(ASK))
        assert model.repeats(Request(ASK, SamplingSettings(temperature=1.0, seed=0)))
    with scripted(Reply(chat())) as server, remote(server, fields={"seed": None}) as model:
        assert not model.repeats(Request(ASK, SamplingSettings(temperature=1.0)))
        assert model.repeats(Request(ASK, GREEDY))


@pytest.mark.parametrize(
    "failure",
    [
        Reply({"error": {"message": "busy"}}, status=429),
        Reply({"error": {"message": "broken"}}, status=500),
        Reply(b"<html>gateway</html>", status=502),
        Reply(chat(), cut=5),
        Reply(b'{"choices": [', headers={"Content-Type": "application/json"}),
        Reply(b"[1]"),
        Reply(chat(), delay=1.0),
    ],
    ids=["busy", "broken", "gateway", "cut", "bad JSON", "no object", "late"],
)
def test_what_passes_by_itself_is_tried_again(failure):
    with scripted(failure, failure, Reply(chat("好"))) as server, remote(server, timeout=0.3) as model:
        (response,) = model.generate([Request(ASK, GREEDY)])
        assert response.text == "好"
        assert len(server.heard) == 3
        assert model.usage == Usage(10, 3), "failed tries took nothing that the server tells of"


def test_waiting_grows_and_is_as_long_as_the_server_asks():
    busy = {"error": {"message": "busy"}}
    with (
        scripted(
            Reply(busy, 429, {"Retry-After": "0.4"}), Reply(busy, 503), Reply(busy, 503), Reply(chat())
        ) as server,
        remote(server, first_wait=0.1) as model,
    ):
        model.generate([Request(ASK)])
    waits = [later.at - earlier.at for earlier, later in zip(server.heard, server.heard[1:], strict=False)]
    assert waits[0] >= 0.4
    assert waits[1] >= 0.1, "half of 0.1 * 2 at least"
    assert waits[2] >= 0.2
    assert sum(waits) < 3


@pytest.mark.parametrize("after", ["86400", "Fri, 31 Dec 2060 23:59:59 GMT"])
def test_a_server_that_asks_for_too_long_a_wait_is_given_up(after):
    with (
        scripted(Reply({"detail": "tomorrow"}, 429, {"Retry-After": after})) as server,
        remote(server) as model,
    ):
        with pytest.raises(JielongError, match=r"answered 429: tomorrow; it asks to wait [\d,]+ seconds"):
            model.generate([Request(ASK)])
        assert len(server.heard) == 1


def test_tries_have_an_end():
    with scripted(Reply({"error": "down"}, 503)) as server, remote(server, retries=2) as model:
        with pytest.raises(JielongError, match=r"answered 503: down \(tried 3 times\)"):
            model.generate([Request(ASK)])
        assert len(server.heard) == 3


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            Reply({"error": {"message": "the prompt\nis too long"}}, 400),
            "answered 400: the prompt is too long$",
        ),
        (Reply({"error": {"message": "no"}}, 401), "answered 401: no; .*variable JIELONG_API_KEY"),
        (Reply({"error": {"message": "no money", "code": "insufficient_quota"}}, 429), "429: no money$"),
        (
            Reply(b"", 308, {"Location": "https://elsewhere"}),
            "308: .*points to https://elsewhere, name that URL",
        ),
        (Reply({"choices": []}), "not in OpenAI's form"),
        (Reply({"choices": [{"message": "hello"}]}), "not in OpenAI's form"),
    ],
    ids=["refused", "no key", "no money", "moved", "no choice", "no message"],
)
def test_what_does_not_pass_is_told_at_once(reply, words):
    with scripted(reply) as server, remote(server) as model:
        with pytest.raises(JielongError, match=words):
            model.generate([Request(ASK)])
        assert len(server.heard) == 1


def test_requests_run_side_by_side_up_to_the_limit_and_come_back_in_order():
    def answer(_number, heard):
        text = heard.body["messages"][0]["content"]
        return Reply(chat(text), delay=0.02 * (int(text) % 3))

    told = []
    requests = [Request([{"role": "user", "content": str(number)}]) for number in range(20)]
    with scripted(answer) as server, remote(server, concurrency=4) as model:
        responses = model.generate(requests, lambda index, response: told.append((index, response.text)))
        assert [response.text for response in responses] == [str(number) for number in range(20)]
        assert sorted(told) == [(number, str(number)) for number in range(20)]
        assert 1 < server.most_at_once <= 4
        assert model.usage == Usage(200, 60)


def test_the_limit_holds_for_all_threads_together():
    with scripted(Reply(chat(), delay=0.05)) as server, remote(server, concurrency=2) as model:
        threads = [threading.Thread(target=model.generate, args=([Request(ASK)] * 3,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert server.most_at_once == 2
        assert len(server.heard) == 9


def test_one_request_that_fails_ends_the_batch_but_what_was_answered_is_told():
    def answer(_number, heard):
        text = heard.body["messages"][0]["content"]
        if text == "3":
            return Reply({"error": {"message": "not this one"}}, 400, delay=0.05)
        return Reply(chat(text), delay=0.0 if int(text) < 3 else 0.2)

    told = []
    requests = [Request([{"role": "user", "content": str(number)}]) for number in range(40)]
    with scripted(answer) as server, remote(server, concurrency=4) as model:
        with pytest.raises(JielongError, match="not this one"):
            model.generate(requests, lambda index, _: told.append(index))
        assert {0, 1, 2} <= set(told)
        assert len(told) == len(server.heard) - 1 < 12, (
            "what had begun was waited for, and nothing more begun"
        )


def test_tokens_are_counted_and_priced():
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
    prices = {"prompt_price": 2.0, "cached_prompt_price": 0.5, "completion_price": 10.0}
    with scripted(Reply(chat(usage=usage))) as server, remote(server, **prices) as model:
        responses = model.generate([Request(ASK)] * 3)
        assert responses[0].usage.cost == pytest.approx((600 * 2 + 400 * 0.5 + 100 * 10) / 1e6)
        assert model.usage.cost == pytest.approx(3 * responses[0].usage.cost)
        assert (model.usage.prompt_tokens, model.usage.completion_tokens) == (3000, 300)


# --- streams


def test_a_stream_gives_pieces_that_join_to_the_whole():
    def call(**function):
        return {"index": 0, "function": function}

    entry = {"token": "好", "logprob": -0.5, "top_logprobs": []}
    with_logprobs = delta("好")
    with_logprobs["choices"][0]["logprobs"] = {"content": [entry]}
    sent = events(
        delta("", role="assistant"), delta(reasoning_content="想"), with_logprobs, delta("吃\u2028"),
        delta(tool_calls=[{**call(name="add", arguments=""), "id": "c1", "type": "function"}]),
        delta(tool_calls=[call(arguments='{"a":')]), delta(tool_calls=[call(arguments=" 1}")]),
        delta(finish="tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}},
    )  # fmt: skip
    raw = b"".join([b": hello\n\n", *sent])
    cut = [raw[start : start + 7] for start in range(0, len(raw), 7)]
    with scripted(Reply(pieces=cut)) as server, remote(server) as model:
        chunks = list(model.stream(Request(ASK, GREEDY)))
    assert server.heard[0].body["stream_options"] == {"include_usage": True}
    *pieces, last = chunks
    assert "".join(piece.text for piece in pieces) == "好吃\u2028" == last.response.text
    assert "".join(piece.reasoning for piece in pieces) == "想" == last.response.message["reasoning_content"]
    assert last.response.choices[0].tool_calls == [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    ]
    assert last.response.choices[0].finish_reason == "tool_calls"
    assert last.response.choices[0].logprobs[0] == TokenLogprob("好", -0.5, [])
    assert model.usage == last.response.usage == Usage(4, 2)


def test_a_stream_shows_each_piece_as_soon_as_it_comes():
    sent = events(*(delta(str(number)) for number in range(4)), delta(finish="stop"))
    with scripted(Reply(pieces=sent, pause=0.1)) as server, remote(server) as model:
        began = time.monotonic()
        times = [time.monotonic() - began for _ in model.stream(Request(ASK))]
    assert times[0] < 0.25 < times[-1]


def test_a_stream_that_fails_before_its_first_piece_is_tried_again():
    good = Reply(pieces=events(delta("好"), delta(finish="stop")))
    failures = [
        Reply({"error": "busy"}, 503),
        Reply(pieces=[], cut=0),
        Reply(pieces=events({"error": {"message": "x"}})),
    ]
    with scripted(*failures, good) as server, remote(server) as model:
        assert [chunk.text for chunk in model.stream(Request(ASK))] == ["好", ""]
        assert len(server.heard) == 4


@pytest.mark.parametrize(
    "pieces",
    [events(delta("好"), delta("吃"), done=False), events(delta("好"), delta("吃"))],
    ids=["cut", "no end"],
)
def test_a_stream_that_breaks_in_the_middle_is_an_error_after_what_was_shown(pieces):
    cut = None if pieces[-1].endswith(b"[DONE]\n\n") else len(pieces)
    with scripted(Reply(pieces=pieces, cut=cut)) as server, remote(server) as model:
        stream = model.stream(Request(ASK))
        shown = [next(stream).text, next(stream).text]
        with pytest.raises(JielongError, match=r"cannot speak with|broke off"):
            next(stream)
        assert shown == ["好", "吃"]
        assert len(server.heard) == 1, "what was shown is not asked again"


def test_closing_a_stream_lets_the_server_know():
    sent = events(*(delta("好" * 1000) for _ in range(1000)))
    with scripted(Reply(pieces=sent, pause=0.01)) as server, remote(server) as model:
        stream = model.stream(Request(ASK))
        next(stream)
        stream.close()
        end = time.monotonic() + 5
        while not server.lost and time.monotonic() < end:
            time.sleep(0.01)
        assert server.lost


# --- names, keys, URLs


def test_a_single_model_needs_no_name_and_several_do():
    with (
        scripted(Reply({"data": [{"id": "小金"}]}), Reply(chat())) as server,
        remote(server, model=None) as model,
    ):
        model.generate([Request(ASK)])
        assert [heard.path for heard in server.heard] == ["/v1/models", "/v1/chat/completions"]
        assert server.heard[1].body["model"] == model.name == "小金"
    two = Reply({"data": [{"id": "a"}, {"id": "b"}]})
    words = r"2 models \(a, b\): say which one, as http.*#NAME"
    with scripted(two) as server, remote(server, model=None) as model, pytest.raises(UsageError, match=words):
        model.generate([Request(ASK)])


def test_the_key_is_sent_and_never_shown(monkeypatch, caplog):
    caplog.set_level(0)
    monkeypatch.setenv("TEACHER_KEY", "sk-very-secret")
    echo = Reply({"error": {"message": "Incorrect API key provided: sk-very-secret"}}, 401)
    with scripted(Reply(chat()), echo) as server, remote(server, key_env="TEACHER_KEY") as model:
        model.generate([Request(ASK)])
        assert server.heard[0].headers["Authorization"] == "Bearer sk-very-secret"
        with pytest.raises(JielongError, match=r"provided: \*\*\*; .*TEACHER_KEY") as raised:
            model.generate([Request(ASK)])
        shown = [
            repr(model),
            repr(model._endpoint),
            json.dumps(model.identity),
            str(raised.value),
            caplog.text,
        ]
        assert not any("very-secret" in text for text in shown)


def test_without_a_key_none_is_sent(monkeypatch):
    monkeypatch.delenv("JIELONG_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-server")
    with scripted(Reply(chat())) as server, remote(server) as model:
        model.generate([Request(ASK)])
        assert "Authorization" not in server.heard[0].headers


def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("JIELONG_API_KEY", "sk-\nsecret")
    with pytest.raises(UsageError) as raised:
        RemoteModel("http://127.0.0.1:1/v1")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "http://",
        "127.0.0.1:8000",
        "http://user:pass@host/v1",
        "http://host/v1?key=k",
        "http://[",
    ],
)
def test_urls_that_cannot_be_used_are_refused(url):
    with pytest.raises(UsageError) as raised:
        RemoteModel(url)
    assert "pass@" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_a_url_may_leave_its_v1_out(suffix):
    with scripted(Reply(chat())) as server:
        with RemoteModel(server.url.removesuffix("/v1") + suffix, RemoteSettings(model="m")) as model:
            model.generate([Request(ASK)])
        assert server.heard[0].path == "/v1/chat/completions"


def test_nobody_there_is_an_error_of_one_line():
    with scripted(Reply()) as server:
        pass
    words = r"cannot speak with http.*\(tried 2 times\)"
    with pytest.raises(JielongError, match=words) as raised, remote(server, retries=1) as model:
        model.generate([Request(ASK)])
    assert len(str(raised.value).splitlines()) == 1


def test_a_request_that_is_not_json_is_refused_before_it_is_sent():
    with scripted(Reply(chat())) as server, remote(server) as model:
        for content in ["\ud800", float("nan"), object()]:
            with pytest.raises(UsageError, match="cannot be written as JSON"):
                model.generate([Request([{"role": "user", "content": content}])])
        assert server.heard == []


def test_closing_ends_the_wait_for_a_further_try():
    with scripted(Reply({}, 503)) as server, remote(server, first_wait=30.0, longest_wait=30.0) as model:
        failed = []

        def ask():
            try:
                model.generate([Request(ASK)])
            except JielongError as error:
                failed.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        while not server.heard:
            time.sleep(0.01)
        model.close()
        thread.join(5)
        assert len(failed) == 1


def test_ctrl_c_does_not_wait_for_a_slow_server():
    def ask_for_ever(url):
        RemoteModel(url, RemoteSettings(model="m")).generate([Request("a")] * 9)

    with scripted(Reply(chat(), delay=60.0)) as server:
        process = multiprocessing.get_context("fork").Process(target=ask_for_ever, args=(server.url,))
        process.start()
        while len(server.heard) < 8:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        process.join(10)
        assert process.exitcode == 1


# --- scoring and tokens


def words(text):
    """Tokens of two characters, as numbers and as texts."""
    return [text[start : start + 2] for start in range(0, len(text), 2)]


def echoing(_number, heard):
    """A server that scores, and tokenizes: a token's log-probability is minus its place."""
    body = heard.body
    if heard.path == "/tokenize":
        text = body.get("prompt") or "".join(message["content"] for message in body["messages"])
        begin = [0] if body.get("add_special_tokens", True) else []
        return Reply({"tokens": begin + [ord(word[0]) for word in words(text)]})
    assert body["echo"]
    tokens = words(body["prompt"]) if isinstance(body["prompt"], str) else body["prompt"]
    offsets = [2 * index for index in range(len(tokens))] if isinstance(body["prompt"], str) else []
    logprobs = {"token_logprobs": [None, *(-float(place) for place in range(1, len(tokens) + 1))],
                "text_offset": [*offsets, len(body["prompt"])]}  # fmt: skip
    text = body["prompt"] if isinstance(body["prompt"], str) else "?"
    usage = {"prompt_tokens": len(tokens)}
    return Reply({"choices": [{"text": f"{text}x", "logprobs": logprobs}], "usage": usage})


def test_a_continuation_is_scored_by_tokens_where_the_server_tokenizes():
    with scripted(echoing) as server, remote(server) as model:
        scores = model.score(["abcd", [{"role": "user", "content": "ab"}]], ["efgh", "cdef"])
        # Tokens: begin, ab, cd, ef, gh; and begin, ab, cd, ef.
        assert scores == [-3.0 - 4.0, -2.0 - 3.0]
        assert sorted(heard.body["prompt"] for heard in server.heard if heard.path == "/v1/completions") == [
            [0, ord("a"), ord("c"), ord("e")], [0, ord("a"), ord("c"), ord("e"), ord("g")]
        ]  # fmt: skip
        assert model.usage.prompt_tokens == 9
        assert model.tokenize("abcd") == [0, ord("a"), ord("c")]


def test_a_continuation_is_scored_by_text_where_it_does_not():
    def answer(number, heard):
        return Reply({"detail": "Not Found"}, 404) if heard.path == "/tokenize" else echoing(number, heard)

    with scripted(answer) as server, remote(server) as model:
        assert model.score(["abcd"], ["efgh"]) == [-2.0 - 3.0]
        assert model.score(["abc"], ["defg"]) == [-1.0 - 2.0 - 3.0], "a token that reaches across counts"
        for ask in (lambda: model.score([ASK], ["好"]), lambda: model.tokenize("山")):
            with pytest.raises(UnsupportedError, match=r"does not tokenize: .*404: Not Found"):
                ask()


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"error": {"message": "no such route"}}, 404),
        Reply({"error": {"message": "echo is not supported with logprobs"}}, 400),
        Reply({"choices": [{"text": "x", "logprobs": {"token_logprobs": [-1.0], "text_offset": [0]}}]}),
        Reply({"choices": [{"text": "abcd", "logprobs": None}]}),
    ],
    ids=["no route", "refused", "echo not known", "no logprobs"],
)
def test_a_server_that_does_not_score_says_so(reply):
    def answer(_number, heard):
        return Reply({}, 404) if heard.path == "/tokenize" else reply

    words = "does not score: "
    with scripted(answer) as server, remote(server) as model, pytest.raises(UnsupportedError, match=words):
        model.score(["ab"], ["cd"])


def test_a_refusal_that_is_about_the_text_is_no_lack_of_scoring():
    def answer(_number, heard):
        return Reply({}, 404) if heard.path == "/tokenize" else Reply({"error": {"message": "too long"}}, 400)

    with scripted(answer) as server, remote(server) as model:
        with pytest.raises(JielongError, match="too long") as raised:
            model.score(["ab"], ["cd"])
        assert not isinstance(raised.value, UnsupportedError)
        with pytest.raises(JielongError, match="empty continuation"):
            model.score(["ab"], [""])
        with pytest.raises(JielongError, match="1 prompts but 2 continuations"):
            model.score(["ab"], ["a", "b"])
