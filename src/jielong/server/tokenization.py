"""`/tokenize`, `/detokenize` and `/tokenizer_info`, as lm-eval's remote tokenizer and vLLM have them."""

import asyncio
from typing import Annotated, Any

from fastapi import Response
from pydantic import Field

from jielong.server.chat_types import ChatMessage
from jielong.server.completion_types import TokenId
from jielong.server.errors import ApiError, JsonResponse
from jielong.server.request_types import FunctionTool, Strict
from jielong.server.served_model import ServedModel


class TokenizeRequest(Strict):
    """A text, or a conversation, whose token ids are wanted."""

    model: str | None = None
    """Name of a served model; the first one without it."""
    prompt: str | None = None
    """A text; special tokens that it names become those tokens."""
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    """A conversation, instead of a text."""
    tools: list[FunctionTool] | None = None
    add_generation_prompt: bool = True
    """End a conversation with the opening of the model's turn."""
    add_special_tokens: bool = False
    """Begin a text with the begin token."""
    return_token_strs: bool | None = None
    """Give each token's text too."""


class DetokenizeRequest(Strict):
    """Token ids whose text is wanted."""

    model: str | None = None
    """Name of a served model; the first one without it."""
    tokens: list[TokenId]


async def answer_tokenize(body: TokenizeRequest, model: ServedModel) -> Response:
    """Give token ids."""
    if (body.prompt is None) == (body.messages is None):
        raise ApiError(400, "give either prompt or messages")
    tokens = await asyncio.to_thread(_tokens, body, model)
    tokenizer = model.engine.tokenizer
    answer: dict[str, Any] = {
        "tokens": tokens,
        "count": len(tokens),
        "max_model_len": model.engine.context_length,
    }
    if body.return_token_strs:
        answer["token_strs"] = [tokenizer.token_bytes(token).decode("utf-8", "replace") for token in tokens]
    return JsonResponse(answer)


def _tokens(body: TokenizeRequest, model: ServedModel) -> list[int]:
    tokenizer = model.engine.tokenizer
    if body.messages is not None:
        messages = [message.plain() for message in body.messages]
        tools = [tool.plain() for tool in body.tools or ()]
        return tokenizer.encode_chat(
            messages, tools=tools or None, add_generation_prompt=body.add_generation_prompt
        )
    tokens = tokenizer.encode(body.prompt or "", special=True)
    return [tokenizer.bos_id, *tokens] if body.add_special_tokens else tokens


async def answer_detokenize(body: DetokenizeRequest, model: ServedModel) -> Response:
    """Give the text of token ids, special tokens included."""
    text = await asyncio.to_thread(model.engine.tokenizer.decode, body.tokens, skip_special=False)
    return JsonResponse({"prompt": text})


def tokenizer_info(model: ServedModel) -> dict[str, Any]:
    """What a client needs to know of the tokenizer."""
    tokenizer = model.engine.tokenizer
    return {
        **{
            key: value
            for key, value in tokenizer.config.items()
            if key.endswith("_token") and isinstance(value, str | None)
        },
        "chat_template": tokenizer.chat_template,
        "vocab_size": tokenizer.vocab_size,
        "model_max_length": model.engine.context_length,
        "model": model.name,
    }
