"""Requests of the Responses route (platform.openai.com/docs/api-reference/responses/create)."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from jielong.server.request_types import (
    Function,
    FunctionTool,
    JsonObjectForm,
    JsonSchema,
    JsonSchemaForm,
    Lenient,
    Number,
    SamplingFields,
    StreamOptions,
    Strict,
    TextForm,
    ToolMode,
    ToolName,
    arguments_of,
)


class TextPart(Lenient):
    """A piece of a message. Only text: these models see no images and hear nothing."""

    type: Literal["input_text", "output_text", "text"]
    text: str


Content = str | list[TextPart]


def _text(content: Content) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


class MessageItem(Lenient):
    """What somebody said."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class CallItem(Lenient):
    """A function call that the model made before."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    """JSON text."""


class CallOutputItem(Lenient):
    """What a function gave back."""

    type: Literal["function_call_output"]
    call_id: str
    output: Content


class ReasoningItem(Lenient):
    """Reasoning that another model gave; not read."""

    type: Literal["reasoning"]


def _kind(item: Any) -> Any:
    return item.get("type", "message") if isinstance(item, dict) else getattr(item, "type", None)


InputItem = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[CallOutputItem, Tag("function_call_output")]
    | Annotated[ReasoningItem, Tag("reasoning")],
    Discriminator(_kind),
]


class FlatFunctionTool(Function):
    """A tool in the form of Responses: its fields are not nested."""

    type: Literal["function"]

    def plain(self) -> dict[str, Any]:
        """As chat templates and grammars read it."""
        return FunctionTool(type="function", function=Function(**self.model_dump(exclude={"type"}))).plain()


class FlatNamedTool(Strict):
    """The one tool that has to be called."""

    type: Literal["function"]
    name: ToolName


class FlatJsonSchemaForm(JsonSchema):
    """JSON that follows a schema, in the form of Responses."""

    type: Literal["json_schema"]

    def nested(self) -> JsonSchemaForm:
        """In the form of Chat Completions."""
        fields = self.model_dump(by_alias=True, exclude={"type"})
        return JsonSchemaForm(type="json_schema", json_schema=JsonSchema(**fields))


class TextOptions(Strict):
    """What the answer must look like."""

    format: Annotated[TextForm | JsonObjectForm | FlatJsonSchemaForm, Field(discriminator="type")] | None = (
        None
    )
    verbosity: str | None = None
    """Accepted, without effect."""


class ResponseRequest(SamplingFields):
    """A conversation that the model is to go on with. Nothing is stored: send the whole of it each time."""

    input: str | Annotated[list[InputItem], Field(min_length=1)]
    instructions: str | None = None
    """A system message before everything else."""
    max_output_tokens: Number | None = None
    """Most tokens of the answer; without it, as many as the context holds."""
    n: Literal[1] | None = None
    tools: list[FlatFunctionTool] | None = None
    tool_choice: ToolMode | FlatNamedTool | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    include: list[str] | None = None
    """`message.output_text.logprobs` gives log-probabilities; others have no effect here."""
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream_options: StreamOptions | None = None
    previous_response_id: str | None = None
    """Refused: nothing is stored here."""

    store: bool | None = None
    """Accepted; nothing is stored here."""
    metadata: dict[str, str] | None = None
    truncation: Literal["disabled"] | None = None
    """A conversation that is too long is refused, never cut."""
    reasoning: dict[str, Any] | None = None
    """Accepted; these models think as they were taught."""
    max_tool_calls: int | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.previous_response_id is not None:
            raise ValueError(
                "previous_response_id: nothing is stored here; send the whole conversation as input"
            )
        names = [tool.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise ValueError("two of the tools have the same name")
        if isinstance(self.tool_choice, FlatNamedTool) and self.tool_choice.name not in names:
            raise ValueError(f"tool_choice names {self.tool_choice.name}, which is not among the tools")
        if self.tool_choice == "required" and not names:
            raise ValueError("tool_choice is required, but there are no tools")
        return self

    def messages(self) -> list[dict[str, Any]]:
        """The conversation as chat templates read it."""
        first = [] if self.instructions is None else [{"role": "system", "content": self.instructions}]
        if isinstance(self.input, str):
            return [*first, {"role": "user", "content": self.input}]
        return [*first, *_messages(self.input)]


def _messages(
    items: Sequence[MessageItem | CallItem | CallOutputItem | ReasoningItem],
) -> list[dict[str, Any]]:
    """Items as messages; the calls of one turn are one message, together with the text before them."""
    messages: list[dict[str, Any]] = []
    for item in items:
        if isinstance(item, MessageItem):
            role = "system" if item.role == "developer" else item.role
            messages.append({"role": role, "content": _text(item.content)})
        elif isinstance(item, CallOutputItem):
            messages.append({"role": "tool", "content": _text(item.output), "tool_call_id": item.call_id})
        elif isinstance(item, CallItem):
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": ""})
            function = {"name": item.name, "arguments": arguments_of(item.arguments)}
            call = {"id": item.call_id, "type": "function", "function": function}
            messages[-1].setdefault("tool_calls", []).append(call)
    return messages
