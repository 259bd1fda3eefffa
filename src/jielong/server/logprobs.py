"""Log-probabilities of tokens in the two forms that OpenAI's routes have."""

import codecs
import math
from collections.abc import Sequence
from typing import Any

from jielong.generation import Step
from jielong.tokenizer import Tokenizer

_LOWEST = -9999.0
"""What OpenAI writes for a token that cannot come; JSON has no infinity."""


def log_of(probabilities: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """(token, probability) -> (token, natural log of it)."""
    return [(token, math.log(share) if share > 0 else _LOWEST) for token, share in probabilities]


def chat_entry(tokenizer: Tokenizer, step: Step) -> dict[str, Any]:
    """One token as Chat Completions and Responses write it, with the likeliest tokens in its place."""
    top = [_entry(tokenizer, token, logprob) for token, logprob in log_of(step.top)]
    logprob = _LOWEST if step.logprob is None else step.logprob
    return {**_entry(tokenizer, step.token, logprob), "top_logprobs": top}


def _entry(tokenizer: Tokenizer, token: int, logprob: float) -> dict[str, Any]:
    data = tokenizer.token_bytes(token)
    return {"token": data.decode("utf-8", "replace"), "logprob": max(logprob, _LOWEST), "bytes": list(data)}


class CompletionLogprobs:
    """The parallel lists of the older Completions route, filled token by token."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._characters = 0
        self._lists: dict[str, list[Any]] = {}

    def add(self, token: int, logprob: float | None, top: Sequence[tuple[int, float]] | None) -> None:
        """Add a token.

        Args:
            token: its id.
            logprob: natural log of its probability; None where nothing stands before it.
            top: tokens and their log-probabilities, likeliest first; None likewise.
        """
        data = self._tokenizer.token_bytes(token)
        named = None if top is None else {self._name(other): max(value, _LOWEST) for other, value in top}
        for name, value in (
            ("tokens", self._name(token)),
            ("token_logprobs", None if logprob is None else max(logprob, _LOWEST)),
            ("top_logprobs", named),
            ("text_offset", self._characters),
        ):
            self._lists.setdefault(name, []).append(value)
        self._characters += len(self._decoder.decode(data))

    def take(self) -> dict[str, list[Any]]:
        """The lists since they were last taken."""
        lists, self._lists = self._lists, {}
        return lists or {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}

    def _name(self, token: int) -> str:
        """A token's text; one that is no whole characters is written with escapes, as OpenAI does."""
        data = self._tokenizer.token_bytes(token)
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
