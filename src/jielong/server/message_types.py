"""Requests of Anthropic's Messages API (platform.claude.com/docs/en/api/messages)."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from jielong.server.request_types import (
    JsonSchema,
    JsonSchemaForm,
    Lenient,
    Number,
    SamplingFields,
    StopText,
    Strict,
)


class TextBlock(Lenient):
    """A piece of a message. Only text: these models see no images and hear nothing."""

    type: Literal["text"]
    text: str


class ToolUseBlock(Lenient):
    """A tool call that the model made before."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ToolResultBlock(Lenient):
    """What a tool gave back."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: str | list[TextBlock] = ""


class ThinkingBlock(Lenient):
    """Thoughts of another model; not read."""

    type: Literal["thinking", "redacted_thinking"]


def _text(content: str | Sequence[TextBlock]) -> str:
    return content if isinstance(content, str) else "".join(block.text for block in content)


class SystemTurn(Strict):
    """What the model is to be."""

    role: Literal["system"]
    content: str | list[TextBlock]

    def plain(self) -> Iterator[dict[str, Any]]:
        """As chat templates read it."""
        yield {"role": "system", "content": _text(self.content)}


class UserTurn(Strict):
    """What a person says, and what tools gave back."""

    role: Literal["user"]
    content: str | list[Annotated[TextBlock | ToolResultBlock, Field(discriminator="type")]]

    def plain(self) -> Iterator[dict[str, Any]]:
        """As chat templates read it: one message for each tool's result, one for texts between them."""
        texts: list[str] = []
        for block in (
            [TextBlock(type="text", text=self.content)] if isinstance(self.content, str) else self.content
        ):
            if isinstance(block, TextBlock):
                texts.append(block.text)
                continue
            if texts:
                yield {"role": "user", "content": "".join(texts)}
                texts = []
            yield {"role": "tool", "content": _text(block.content), "tool_call_id": block.tool_use_id}
        if texts:
            yield {"role": "user", "content": "".join(texts)}


class AssistantTurn(Strict):
    """What the model said and called."""

    role: Literal["assistant"]
    content: str | list[Annotated[TextBlock | ToolUseBlock | ThinkingBlock, Field(discriminator="type")]]

    def plain(self) -> Iterator[dict[str, Any]]:
        """As chat templates read it."""
        blocks = [] if isinstance(self.content, str) else self.content
        said = (
            self.content if isinstance(self.content, str) else [b for b in blocks if isinstance(b, TextBlock)]
        )
        message: dict[str, Any] = {"role": "assistant", "content": _text(said)}
        if calls := [block for block in blocks if isinstance(block, ToolUseBlock)]:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input}}
                for call in calls
            ]
        yield message


Turn = Annotated[SystemTurn | UserTurn | AssistantTurn, Field(discriminator="role")]


class Tool(Lenient):
    """A tool that the model may call."""

    type: Literal["custom"] | None = None
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$")]
    description: str | None = None
    input_schema: dict[str, Any]
    """JSON schema of its arguments."""

    def plain(self) -> dict[str, Any]:
        """As chat templates and grammars read it."""
        described = {} if self.description is None else {"description": self.description}
        return {
            "type": "function",
            "function": {"name": self.name, **described, "parameters": self.input_schema},
        }


class ToolChoice(Strict):
    """Which tools have to be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    """The tool, where the type is `tool`."""
    disable_parallel_tool_use: bool = False


class SchemaFormat(Strict):
    """JSON that follows a schema."""

    type: Literal["json_schema"]
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class OutputConfig(Strict):
    """What the answer must look like."""

    format: SchemaFormat | None = None
    effort: str | None = None
    """Accepted, without effect."""


class MessageConversation(Strict):
    """A conversation as the model reads it."""

    model: Annotated[str, Field(max_length=1000)]
    """Name of a served model."""
    messages: Annotated[list[Turn], Field(min_length=1)]
    """The last one is the user's: an answer is not gone on with."""
    system: str | list[TextBlock] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice = ToolChoice(type="auto")
    output_config: OutputConfig | None = None
    thinking: dict[str, Any] | None = None
    """Accepted; these models think as they were taught."""
    cache_control: dict[str, Any] | None = None
    """Accepted, here and in blocks; equal beginnings are shared without it."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [tool.name for tool in self.tools or ()]
        if self.messages[-1].role != "user":
            raise ValueError(
                "the last of the messages must be the user's; an answer cannot be gone on with here"
            )
        if len(set(names)) < len(names):
            raise ValueError("two of the tools have the same name")
        if self.tool_choice.type == "tool" and self.tool_choice.name not in names:
            raise ValueError(f"tool_choice names {self.tool_choice.name}, which is not among the tools")
        if self.tool_choice.type == "any" and not names:
            raise ValueError("tool_choice is any, but there are no tools")
        return self

    def plain_messages(self) -> list[dict[str, Any]]:
        """The conversation as chat templates read it."""
        first = [] if self.system is None else [{"role": "system", "content": _text(self.system)}]
        return [*first, *(message for turn in self.messages for message in turn.plain())]

    def plain_tools(self) -> list[dict[str, Any]]:
        """The tools as chat templates and grammars read them."""
        return [] if self.tool_choice.type == "none" else [tool.plain() for tool in self.tools or ()]

    def choice(self) -> str:
        """The choice of tools with Chat Completions' names."""
        kind = self.tool_choice.type
        return str(self.tool_choice.name) if kind == "tool" else {"any": "required"}.get(kind, kind)

    def form(self) -> JsonSchemaForm | None:
        """What the answer must look like, as Chat Completions says it."""
        if self.output_config is None or self.output_config.format is None:
            return None
        schema = JsonSchema.model_validate({"name": "answer", "schema": self.output_config.format.schema_})
        return JsonSchemaForm(type="json_schema", json_schema=schema)


class MessageRequest(MessageConversation, SamplingFields):
    """A conversation that the model is to go on with."""

    max_tokens: Number
    """Most tokens of the answer."""
    stop: Annotated[list[StopText] | None, Field(max_length=16, alias="stop_sequences")] = None
    n: Literal[1] | None = None
    metadata: dict[str, Any] | None = None
    """Accepted; read by nobody here."""
    service_tier: str | None = None
    """Accepted; there is one here."""
