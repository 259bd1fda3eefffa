"""`/v1/embeddings`: the mean of a text's last hidden states, scaled to length 1."""

import asyncio
import base64
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import Response
from pydantic import Field

from jielong.generation import Engine
from jielong.server.completion_types import Prompt
from jielong.server.errors import ApiError, JsonResponse
from jielong.server.generations import Desk
from jielong.server.prompts import encode, several
from jielong.server.request_types import Strict
from jielong.server.served_model import ServedModel

_TOKENS_A_CALL = 2048
"""Tokens that are read between two steps of the engine."""


class EmbeddingRequest(Strict):
    """Texts that are to become vectors.

    A vector is the mean of the last hidden states over a text's tokens, divided by its length, so that the
    scalar product of two vectors is the cosine of their angle. A text is read after the begin token.
    """

    model: Annotated[str, Field(max_length=1000)]
    input: Prompt
    """A text or its token ids, or a list of those."""
    encoding_format: Literal["float", "base64"] | None = None
    """Numbers, or their little-endian float32 bytes in base64."""
    dimensions: int | None = None
    """Accepted where it is the model's own width."""
    user: str | None = None
    """Read by nobody here."""


async def answer_embeddings(body: EmbeddingRequest, model: ServedModel, desk: Desk) -> Response:
    """Give one vector a text."""
    given = several(body.input)
    if not given:
        raise ApiError(400, "input is an empty list", param="input")
    if len(given) > 2048:
        raise ApiError(400, f"{len(given)} inputs; one request may hold 2048", param="input")
    width = model.engine.model.config.hidden_size
    if body.dimensions not in (None, width):
        raise ApiError(400, f"the vectors of {model.name} have {width} dimensions", param="dimensions")
    tokens = await asyncio.to_thread(_encode, given, model)
    desk.count_prompts(model, tokens)
    vectors: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    while len(vectors) < len(tokens):
        group = tokens[len(vectors) : len(vectors) + _group_size(tokens[len(vectors) :])]
        vectors += list(await desk.in_time(model.call(partial(_embed, group))))
    data = [
        {"object": "embedding", "index": index, "embedding": _written(vector, body.encoding_format)}
        for index, vector in enumerate(vectors)
    ]
    total = sum(map(len, tokens))
    usage = {"prompt_tokens": total, "total_tokens": total}
    return JsonResponse({"object": "list", "data": data, "model": model.name, "usage": usage})


def _encode(given: list[Any], model: ServedModel) -> list[list[int]]:
    encoded = []
    for number, text in enumerate(given):
        tokens = encode(model.engine.tokenizer, text)
        if not tokens or max(tokens) >= model.engine.tokenizer.vocab_size:
            raise ApiError(400, f"input {number} is empty or holds an unknown token", param="input")
        model.check_length(tokens, room=0)
        encoded.append(tokens)
    return encoded


def _group_size(tokens: list[list[int]]) -> int:
    """How many of the next texts are read together: at least one."""
    sizes = np.cumsum([len(text) for text in tokens])
    return max(1, int(np.searchsorted(sizes, _TOKENS_A_CALL, side="right")))


def _embed(tokens: list[list[int]], engine: Engine) -> np.ndarray[Any, np.dtype[np.float32]]:
    vectors = engine.embed(tokens)
    found: np.ndarray[Any, np.dtype[np.float32]] = (
        (vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)).float().cpu().numpy()
    )
    return found


def _written(vector: np.ndarray[Any, np.dtype[np.float32]], form: str | None) -> list[float] | str:
    if form == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers
