"""Answers kept on disk: a request that was answered once costs nothing the second time."""

import contextlib
import json
import os
import sqlite3
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from jielong.core.errors import JielongError
from jielong.core.files import hash_json
from jielong.lm.protocol import Chunk, Done, LanguageModel, Prompt, Request, Response, Stream, Tool, Usage

_WAIT = 60.0  # seconds for another process's writing to end
_ASKED = 500  # keys in one query: SQLite takes a limited number


def default_cache() -> Path:
    """Where answers are kept unless the user says otherwise: `jielong/answers.sqlite` in the user's cache."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "jielong" / "answers.sqlite"


class AnswerStore:
    """Values by key in one SQLite file, which any number of processes and threads may use at once.

    Each call opens the file anew: a connection must not outlive a fork, nor change its thread.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """Those of the keys that are there, with their values."""
        found: dict[str, Any] = {}
        with self._open() as database:
            for start in range(0, len(keys), _ASKED):
                part = keys[start : start + _ASKED]
                marks = ",".join("?" * len(part))
                rows = database.execute(f"SELECT key, value FROM answers WHERE key IN ({marks})", part)  # noqa: S608
                found |= {key: json.loads(value) for key, value in rows}
        return found

    def put(self, key: str, value: Any) -> None:
        """Keep a value; of two writers of one key the first wins."""
        text = json.dumps(value, ensure_ascii=False)
        with self._open() as database, database:
            database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, text))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(sqlite3.connect(self.path, timeout=_WAIT)) as database:
                database.execute(
                    "PRAGMA synchronous=NORMAL"
                )  # an answer that a power cut takes is asked again
                database.execute(
                    "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
                )
                yield database
        except (sqlite3.Error, OSError, ValueError) as error:
            raise JielongError(
                f"the cache {self.path} cannot be used ({error}); remove it, or turn the cache off"
            ) from error


class CachedModel:
    """A language model whose answers are kept, where asking again would give the same.

    The key holds the model's identity and the whole request, so nothing has ever to be thrown away: another
    model, other settings or another prompt are other keys.
    """

    def __init__(self, model: LanguageModel, path: Path) -> None:
        self._model = model
        self._store = AnswerStore(path)

    def __repr__(self) -> str:
        return f"CachedModel({self._model!r}, {str(self._store.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """The model's."""
        return self._model.name

    @property
    def identity(self) -> Mapping[str, Any]:
        """The model's."""
        return self._model.identity

    @property
    def context_length(self) -> int | None:
        """The model's."""
        return self._model.context_length

    @property
    def usage(self) -> Usage:
        """The model's: what came out of the cache took nothing."""
        return self._model.usage

    def close(self) -> None:
        """Close the model."""
        self._model.close()

    def repeats(self, request: Request) -> bool:
        """As the model says."""
        return self._model.repeats(request)

    def tokenize(self, prompt: Prompt, tools: Sequence[Tool] = ()) -> list[int]:
        """Ask the model."""
        return self._model.tokenize(prompt, tools)

    def generate(self, requests: Sequence[Request], done: Done | None = None) -> list[Response]:
        """Answer from the cache, and the rest by the model; each answer is kept as soon as it is there."""
        keys = [self._request_key(request) for request in requests]
        kept = self._store.get(sorted({key for key in keys if key is not None}))
        responses: dict[int, Response] = {}
        # Requests of one key are asked once; those without a key each for themselves.
        missing: dict[str | int, list[int]] = {}

        def take(index: int, response: Response) -> None:
            responses[index] = response
            if done is not None:
                done(index, response)

        for index, key in enumerate(keys):
            if key in kept:
                take(index, Response.from_json(kept[key], cached=True))
            else:
                missing.setdefault(index if key is None else key, []).append(index)
        asked = list(missing.items())

        def keep(place: int, response: Response) -> None:
            key, (first, *others) = asked[place]
            if isinstance(key, str):
                self._store.put(key, response.to_json())
            take(first, response)
            for index in others:
                take(index, replace(response, cached=True))

        if asked:
            self._model.generate([requests[indices[0]] for _, indices in asked], keep)
        return [responses[index] for index in range(len(requests))]

    def stream(self, request: Request) -> Stream:
        """A kept answer comes in one piece; another one is kept when it has come to its end."""
        key = self._request_key(request)
        kept = self._store.get([key]) if key is not None else {}
        if key in kept:
            return _at_once(Response.from_json(kept[key], cached=True))
        return self._kept_pieces(self._model.stream(request), key)

    def score(self, prompts: Sequence[Prompt], continuations: Sequence[str]) -> list[float]:
        """Score what is not in the cache."""
        if len(prompts) != len(continuations):
            return self._model.score(prompts, continuations)  # which says what is wrong
        pairs = list(zip(prompts, continuations, strict=True))
        keys = [
            self._key("score", [prompt if isinstance(prompt, str) else list(prompt), text])
            for prompt, text in pairs
        ]
        scores = self._store.get(sorted(set(keys)))
        missing = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in scores}
        if missing:
            asked = list(missing.values())
            found = self._model.score([prompt for prompt, _ in asked], [text for _, text in asked])
            for key, value in zip(missing, found, strict=True):
                self._store.put(key, value)
                scores[key] = value
        return [scores[key] for key in keys]

    def _request_key(self, request: Request) -> str | None:
        return self._key("generate", request.to_json()) if self.repeats(request) else None

    def _key(self, what: str, asked: Any) -> str:
        return hash_json({"model": self.identity, what: asked})

    def _kept_pieces(self, pieces: Stream, key: str | None) -> Generator[Chunk, None, None]:
        try:
            for chunk in pieces:
                if chunk.response is not None and key is not None:
                    self._store.put(key, chunk.response.to_json())
                yield chunk
        finally:
            pieces.close()


def _at_once(response: Response) -> Generator[Chunk, None, None]:
    reasoning = response.message.get("reasoning_content") or ""
    if response.text or reasoning:
        yield Chunk(response.text, reasoning)
    yield Chunk(response=response)
