"""Requests of Chat Completions (platform.openai.com/docs/api-reference/chat/create)."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from jielong.server.request_types import (
    AnswerForm,
    FunctionTool,
    Number,
    SamplingFields,
    StreamOptions,
    Strict,
    ToolMode,
    ToolName,
    arguments_of,
)


class TextPart(Strict):
    """A piece of a message. Only text: these models see no images and hear nothing."""

    type: Literal["text"]
    text: str


Content = str | list[TextPart]


def _text(content: Content | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text for part in content)


class SystemMessage(Strict):
    """What the model is to be."""

    role: Literal["system", "developer"]
    content: Content
    name: str | None = None

    def plain(self) -> dict[str, Any]:
        """As chat templates read it."""
        return {"role": "system", "content": _text(self.content)}


class UserMessage(Strict):
    """What a person says."""

    role: Literal["user"]
    content: Content
    name: str | None = None

    def plain(self) -> dict[str, Any]:
        """As chat templates read it."""
        return {"role": "user", "content": _text(self.content)}


class CalledFunction(Strict):
    """The function of a tool call."""

    name: str
    arguments: str
    """JSON text."""


class MessageToolCall(Strict):
    """A tool call that the model made before."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(Strict):
    """What the model said; clients send its answers back as they got them, so other fields may be there."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["assistant"]
    content: Content | None = None
    reasoning_content: str | None = None
    tool_calls: list[MessageToolCall] | None = None

    def plain(self) -> dict[str, Any]:
        """As chat templates read it."""
        message: dict[str, Any] = {"role": "assistant", "content": _text(self.content)}
        if self.reasoning_content is not None:
            message["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {
                        "name": call.function.name,
                        "arguments": arguments_of(call.function.arguments),
                    },
                }
                for call in self.tool_calls
            ]
        return message


class ToolMessage(Strict):
    """What a tool gave back."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str

    def plain(self) -> dict[str, Any]:
        """As chat templates read it."""
        return {"role": "tool", "content": _text(self.content), "tool_call_id": self.tool_call_id}


ChatMessage = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class NamedFunction(Strict):
    """A function's name."""

    name: ToolName


class NamedTool(Strict):
    """The one tool that has to be called."""

    type: Literal["function"]
    function: NamedFunction


class ChatRequest(SamplingFields):
    """A conversation that the model is to go on with."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: Number | None = None
    """Most tokens of an answer; without it, as many as the context holds."""
    max_completion_tokens: Number | None = None
    """The newer name of max_tokens."""
    logprobs: bool | None = None
    """Give the log-probability of each token."""
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    """Give as many of the likeliest tokens too."""
    tools: list[FunctionTool] | None = None
    tool_choice: ToolMode | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    """Whether one answer may hold several tool calls."""
    response_format: AnswerForm | None = None
    stream_options: StreamOptions | None = None

    modalities: list[Literal["text"]] | None = None
    store: bool | None = None
    """Accepted; nothing is stored here."""
    metadata: dict[str, str] | None = None
    """Accepted; nothing is stored here."""
    service_tier: str | None = None
    """Accepted; there is one here."""
    reasoning_effort: str | None = None
    """Accepted; these models think as they were taught."""
    verbosity: str | None = None
    """Accepted, without effect."""
    safety_identifier: str | None = None
    """Accepted; read by nobody here."""
    prompt_cache_key: str | None = None
    """Accepted; equal beginnings are shared without it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream: true")
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise ValueError("two of the tools have the same name")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in names:
            raise ValueError(
                f"tool_choice names {self.tool_choice.function.name}, which is not among the tools"
            )
        if self.tool_choice == "required" and not names:
            raise ValueError("tool_choice is required, but there are no tools")
        return self
