"""A language model behind an OpenAI-compatible endpoint."""

import re
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, Self

from jielong.core.errors import JielongError, UsageError
from jielong.lm.endpoint import Endpoint, EndpointError
from jielong.lm.protocol import Chunk, Done, Prompt, Request, Response, Tool, UnsupportedError, Usage
from jielong.lm.settings import RemoteSettings
from jielong.lm.side_by_side import side_by_side
from jielong.lm.wire import Assembly, body_of, path_of, read_response, read_usage

# What servers answer to a path or a field that they do not have.
_NOT_THERE = {400, 404, 405, 422, 501}


class RemoteModel:
    """Speaks to a server; requests of one call go out side by side, up to the limit of the settings."""

    def __init__(self, url: str, settings: RemoteSettings | None = None) -> None:
        """Take a base URL, such as `http://127.0.0.1:8000/v1`; nothing is sent yet.

        Raises:
            UsageError: the URL or the key in the environment cannot be used.
        """
        self._settings = settings or RemoteSettings()
        self._endpoint = Endpoint(url, self._settings)
        self._places = threading.BoundedSemaphore(self._settings.concurrency)
        self._lock = threading.Lock()
        self._usage = Usage()
        self._model = self._settings.model

    def __repr__(self) -> str:
        return f"RemoteModel({self._endpoint.url!r}, model={self._model!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The model's name on the server, which is asked where the settings do not say."""
        if self._model is None:
            self._model = self._only_model()
        return self._model

    @property
    def identity(self) -> Mapping[str, Any]:
        """Server, model, and what is sent with every request."""
        settings = self._settings
        return {
            "url": self._endpoint.url, "model": self.name,
            "fields": settings.fields, "extra_body": settings.extra_body,
        }  # fmt: skip

    @property
    def context_length(self) -> int | None:
        """What the settings say; servers do not tell."""
        return self._settings.context_length

    @property
    def usage(self) -> Usage:
        """What all requests took, as far as the server tells."""
        return self._usage

    def close(self) -> None:
        """End what waits for a further try, and give up the connections."""
        self._endpoint.close()

    def repeats(self, request: Request) -> bool:
        """Whether the request that goes out is greedy or names a seed."""
        names = self._settings.fields
        body = body_of(request, "", self._settings)
        temperature, seed = (names.get(name, name) for name in ("temperature", "seed"))
        return body.get(temperature or "") == 0 or body.get(seed or "") is not None

    def generate(self, requests: Sequence[Request], done: Done | None = None) -> list[Response]:
        """Answer all requests; see `LanguageModel.generate`."""
        responses: dict[int, Response] = {}
        for index, response in side_by_side(self._answer, requests, self._settings.concurrency):
            responses[index] = response
            if done is not None:
                done(index, response)
        return [responses[index] for index in range(len(requests))]

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """Answer one request piece by piece; see `LanguageModel.stream`. It does not count for the limit."""
        if request.n != 1:
            raise UsageError(f"a stream is of one sample, not {request.n}")
        chat = not isinstance(request.prompt, str)
        body = body_of(request, self.name, self._settings)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        return self._pieces(path_of(request), body, chat)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[float]:
        """Score through `/v1/completions` with `echo`; see `LanguageModel.score`.

        Where the server has `/tokenize`, prompt and continuation are given as tokens, as the local engine
        scores them, and the prompt may be a chat. Elsewhere they are given as one text, and the continuation
        begins with the first token that reaches into it.
        """
        if len(prompts) != len(continuations):
            raise JielongError(f"there are {len(prompts)} prompts but {len(continuations)} continuations")
        pairs = list(zip(prompts, continuations, strict=True))
        scores = dict(side_by_side(self._score, pairs, self._settings.concurrency))
        return [scores[index] for index in range(len(pairs))]

    def tokenize(self, prompt: Prompt, tools: Sequence[Tool] = ()) -> list[int]:
        """Ask the server's `/tokenize`; see `LanguageModel.tokenize`."""
        if isinstance(prompt, str):
            return self._tokenize({"prompt": prompt, "add_special_tokens": True})
        body: dict[str, Any] = {"messages": list(prompt), "add_generation_prompt": True}
        return self._tokenize(body | ({"tools": list(tools)} if tools else {}))

    # --- one request

    def _answer(self, request: Request, stopped: threading.Event) -> Response:
        with self._places:
            body = body_of(request, self.name, self._settings)
            answer = self._endpoint.post(path_of(request), body, stopped)
        response = read_response(answer, not isinstance(request.prompt, str), self._settings)
        self._count(response.usage)
        return response

    def _pieces(self, path: str, body: dict[str, Any], chat: bool) -> Generator[Chunk, None, None]:
        assembly = Assembly(chat)
        for event in self._endpoint.stream(path, body):
            text, reasoning = assembly.push(event)
            if text or reasoning:
                yield Chunk(text, reasoning)
        if assembly.finish_reason is None:
            raise EndpointError(f"{self._endpoint.url} broke off in the middle of its answer")
        response = read_response(assembly.answer(), chat, self._settings)
        self._count(response.usage)
        yield Chunk(response=response)

    def _count(self, usage: Usage) -> None:
        with self._lock:
            self._usage += usage

    def _only_model(self) -> str:
        models = self._endpoint.get("models").get("data")
        names = [str(model.get("id")) for model in models or [] if isinstance(model, dict)]
        if len(names) != 1:
            raise UsageError(
                f"{self._endpoint.url} has {len(names)} models ({', '.join(names[:8])}): say which one, as "
                f"{self._endpoint.url}#NAME"
            )
        return names[0]

    # --- scoring

    def _score(self, pair: tuple[Prompt, str], stopped: threading.Event) -> float:
        prompt, continuation = pair
        if not prompt or not continuation:
            raise JielongError(f"a pair to score has an empty {'continuation' if prompt else 'prompt'}")
        with self._places:
            known = self._pair_tokens(prompt, continuation)
            if known is not None:
                ids, first = known
                return self._echoed(ids, stopped, lambda _: range(first, len(ids)))
            text = f"{prompt}{continuation}"
            begin = len(text) - len(continuation)

            def reaching_into_it(offsets: list[int]) -> list[int]:
                ends = [*offsets[1:], len(text)]
                return [index for index, end in enumerate(ends) if end > begin and offsets[index] < len(text)]

            return self._echoed(text, stopped, reaching_into_it)

    def _echoed(
        self, prompt: str | list[int], stopped: threading.Event, wanted: Callable[[list[int]], Iterable[int]]
    ) -> float:
        """Let the server repeat a prompt and add up the log-probabilities of some of its tokens.

        Args:
            prompt: text or tokens.
            stopped: ends the waiting before a further try.
            wanted: places of the tokens that count, given where in the text each token begins.
        """
        url = self._endpoint.url
        # One token more than is needed: many servers refuse to generate none.
        body = {
            "model": self.name,
            "prompt": prompt,
            "max_tokens": 1,
            "temperature": 0,
            "echo": True,
            "logprobs": 1,
        }
        try:
            answer = self._endpoint.post("completions", body, stopped)
        except EndpointError as error:
            absent = error.status in _NOT_THERE - {400, 422}
            if absent or (error.status in _NOT_THERE and re.search("echo|logprobs", str(error))):
                raise UnsupportedError(f"{url} does not score: {error}") from None
            raise
        self._count(read_usage(answer.get("usage"), self._settings))
        try:
            choice = answer["choices"][0]
            if isinstance(prompt, str) and not choice["text"].startswith(prompt):
                raise KeyError("text")
            logprobs = choice["logprobs"]
            values = [
                logprobs["token_logprobs"][index] for index in wanted(logprobs.get("text_offset") or [])
            ]
            return float(sum(values))
        except (KeyError, TypeError, IndexError, AttributeError):
            raise UnsupportedError(
                f"{url} does not score: it gave no log-probabilities of the prompt's tokens (`echo`)"
            ) from None

    def _pair_tokens(self, prompt: Prompt, continuation: str) -> tuple[list[int], int] | None:
        """Tokens of both and where the second begins; None without a server that tells."""
        try:
            ids = self.tokenize(prompt)
            return ids + self._tokenize({"prompt": continuation, "add_special_tokens": False}), len(ids)
        except UnsupportedError:
            if isinstance(prompt, str):
                return None
            raise

    def _tokenize(self, body: Mapping[str, Any]) -> list[int]:
        try:
            answer = self._endpoint.post("/tokenize", {"model": self.name, **body})
        except EndpointError as error:
            if error.status in _NOT_THERE:
                raise UnsupportedError(f"{self._endpoint.url} does not tokenize: {error}") from None
            raise
        tokens = answer.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
            raise UnsupportedError(f"{self._endpoint.url} does not tokenize: it gave no list of tokens")
        return tokens
