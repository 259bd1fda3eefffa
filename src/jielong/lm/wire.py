"""Requests and answers in the form of OpenAI's API."""

from collections.abc import Iterable, Mapping
from typing import Any

from jielong.core.errors import JielongError
from jielong.generation import SamplingSettings
from jielong.lm.protocol import Choice, Message, Request, Response, TokenLogprob, Usage
from jielong.lm.settings import RemoteSettings

_ALWAYS = ("max_tokens", "temperature", "seed")


def path_of(request: Request) -> str:
    """Where a request goes: a text to be completed, or a chat."""
    return "completions" if isinstance(request.prompt, str) else "chat/completions"


def body_of(request: Request, model: str, settings: RemoteSettings) -> dict[str, Any]:
    """The body of a request."""
    body: dict[str, Any] = {"model": model, **_sampling(request.settings)}
    chat = not isinstance(request.prompt, str)
    body["messages" if chat else "prompt"] = request.prompt
    if request.n > 1:
        body["n"] = request.n
    if request.tools:
        body |= {"tools": list(request.tools), "tool_choice": request.tool_choice}
    if request.schema is not None:
        schema = {"name": "answer", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.top_logprobs is not None:
        body |= (
            {"logprobs": True, "top_logprobs": request.top_logprobs}
            if chat
            else {"logprobs": request.top_logprobs}
        )
    names = {name: settings.fields.get(name, name) for name in body}
    renamed = {name: body[field] for field, name in names.items() if name is not None}
    return {**renamed, **settings.extra_body}


def _sampling(settings: SamplingSettings | None) -> dict[str, Any]:
    """What differs from a roll of the plain die; servers without an extension never hear of it."""
    if settings is None:
        return {}
    values = settings.model_dump(mode="json")
    plain = SamplingSettings().model_dump(mode="json")
    return {name: value for name, value in values.items() if name in _ALWAYS or value != plain[name]}


def read_response(answer: Mapping[str, Any], chat: bool, settings: RemoteSettings) -> Response:
    """Read the object that a server gave.

    Raises:
        JielongError: it does not have the form.
    """
    try:
        choices = [_chat_choice(each) if chat else _text_choice(each) for each in answer["choices"]]
        if not choices:
            raise ValueError("it holds no choice")
        return Response(choices, read_usage(answer.get("usage"), settings))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JielongError(
            f"the server's answer is not in OpenAI's form ({type(error).__name__}: {error})"
        ) from None


def read_usage(usage: Mapping[str, Any] | None, settings: RemoteSettings) -> Usage:
    """Tokens and their price; nothing where the server does not tell."""
    usage = usage or {}
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    cached_price = settings.cached_prompt_price
    cost = (prompt - cached) * settings.prompt_price + completion * settings.completion_price
    cost += cached * (settings.prompt_price if cached_price is None else cached_price)
    return Usage(prompt, completion, cost / 1e6)


def _chat_choice(choice: Mapping[str, Any]) -> Choice:
    given = choice["message"]
    message: Message = {"role": "assistant", "content": given.get("content")}
    reasoning = given.get("reasoning_content") or given.get("reasoning")
    if reasoning:
        message["reasoning_content"] = reasoning
    if given.get("tool_calls"):
        message["tool_calls"] = given["tool_calls"]
    elif message["content"] is None:
        message["content"] = given.get("refusal") or ""
    logprobs = (choice.get("logprobs") or {}).get("content")
    return Choice(
        message,
        choice.get("finish_reason") or "stop",
        None if logprobs is None else [_token(each) for each in logprobs],
    )


def _token(entry: Mapping[str, Any]) -> TokenLogprob:
    top = [(each["token"], each["logprob"]) for each in entry.get("top_logprobs") or []]
    return TokenLogprob(entry["token"], entry["logprob"], top)


def _text_choice(choice: Mapping[str, Any]) -> Choice:
    logprobs = choice.get("logprobs")
    tokens = None
    if logprobs is not None:
        tops = logprobs.get("top_logprobs") or [None] * len(logprobs["tokens"])
        tokens = [
            TokenLogprob(token, value, sorted((top or {}).items(), key=lambda pair: -pair[1]))
            for token, value, top in zip(logprobs["tokens"], logprobs["token_logprobs"], tops, strict=True)
        ]
    message = {"role": "assistant", "content": choice["text"]}
    return Choice(message, choice.get("finish_reason") or "stop", tokens)


class Assembly:
    """Puts the pieces of a streamed answer together to the object that an answer in one piece is."""

    def __init__(self, chat: bool) -> None:
        self._chat = chat
        self._texts: dict[str, list[str]] = {"content": [], "reasoning_content": []}
        self._calls: dict[int, dict[str, Any]] = {}
        self._logprobs: list[Mapping[str, Any]] = []
        self._usage: Any = None
        self.finish_reason: str | None = None
        """None until the answer has ended."""

    def push(self, event: Mapping[str, Any]) -> tuple[str, str]:
        """Take in one event; return the new text and the new reasoning."""
        self._usage = event.get("usage") or self._usage
        text = reasoning = ""
        try:
            for choice in event.get("choices") or []:
                delta = (choice.get("delta") or {}) if self._chat else {"content": choice.get("text")}
                text += delta.get("content") or delta.get("refusal") or ""
                reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
                self._take_calls(delta.get("tool_calls") or [])
                if choice.get("logprobs"):
                    self._logprobs.append(choice["logprobs"])
                self.finish_reason = choice.get("finish_reason") or self.finish_reason
        except (KeyError, TypeError, AttributeError) as error:
            raise JielongError(
                f"a piece of the server's answer is not in OpenAI's form ({type(error).__name__}: {error})"
            ) from None
        self._texts["content"].append(text)
        self._texts["reasoning_content"].append(reasoning)
        return text, reasoning

    def answer(self) -> dict[str, Any]:
        """The whole, once it has ended."""
        joined = {name: "".join(pieces) for name, pieces in self._texts.items()}
        choice: dict[str, Any] = {"finish_reason": self.finish_reason}
        if self._chat:
            calls = [self._calls[index] for index in sorted(self._calls)]
            content = joined["content"] or (None if calls else "")
            choice["message"] = {**joined, "content": content, "tool_calls": calls}
        else:
            choice["text"] = joined["content"]
        if self._logprobs:
            names = ("content",) if self._chat else ("tokens", "token_logprobs", "top_logprobs")
            choice["logprobs"] = {name: _joined(self._logprobs, name) for name in names}
        return {"choices": [choice], "usage": self._usage}

    def _take_calls(self, deltas: Iterable[Mapping[str, Any]]) -> None:
        for delta in deltas:
            index = delta.get("index") or 0
            new = {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            call = self._calls.setdefault(index, new)
            function = delta.get("function") or {}
            call["id"] = delta.get("id") or call["id"]
            for name in ("name", "arguments"):
                call["function"][name] += function.get(name) or ""


def _joined(parts: Iterable[Mapping[str, Any]], name: str) -> list[Any]:
    return [entry for part in parts for entry in part.get(name) or []]
