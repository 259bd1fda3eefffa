"""Prompts and inputs that are given as texts or as token ids, one or many."""

from collections.abc import Sequence
from typing import cast

from jielong.tokenizer import Tokenizer

Given = str | Sequence[int] | Sequence[str] | Sequence[Sequence[int]]


def several(given: Given) -> list[str | Sequence[int]]:
    """The prompts one by one: a list of numbers is one prompt, a list of lists or texts is many."""
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        return [cast("str | Sequence[int]", given)]
    return list(cast("Sequence[str | Sequence[int]]", given))


def encode(tokenizer: Tokenizer, prompt: str | Sequence[int]) -> list[int]:
    """Token ids of a prompt; a text begins with the begin token, as a document did in pretraining."""
    if isinstance(prompt, str):
        return [tokenizer.bos_id, *tokenizer.encode(prompt)]
    return list(prompt)
