"""What requests of several routes have in common: strict types, sampling, tools, the answer's form."""

import json
import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from jielong.generation import SamplingSettings

Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
StopText = Annotated[str, Field(max_length=1000)]
ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class Strict(BaseModel):
    """No wrong types, and no field that is silently left unread."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Lenient(Strict):
    """A part of an answer that a client sends back as it got it; fields without use here are not read."""

    model_config = ConfigDict(extra="ignore")


class SamplingFields(Strict):
    """How tokens are rolled; what is not given comes from the model's generation_config.json."""

    model: Annotated[str, Field(max_length=1000)]
    """Name of a served model."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    """Roll only among the k likeliest tokens; 0 and -1 keep all (not in OpenAI's interface)."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Leave out tokens below this share of the likeliest one's probability (not in OpenAI's interface)."""
    repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
    """Above 1 makes tokens that were there before less likely (not in OpenAI's interface)."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    """Token id, as text -> what is added to its logit."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    """The same seed and request give the same answer; without one, every answer is rolled anew."""
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    n: Annotated[int, Field(ge=1, le=1024)] | None = None
    """How many answers to give."""
    stream: bool | None = None
    user: str | None = None
    """Read by nobody here."""

    @field_validator("logit_bias")
    @classmethod
    def _names_tokens(cls, bias: dict[str, float] | None) -> dict[str, float] | None:
        for token in bias or {}:
            if not (token.isascii() and token.isdigit() and len(token) < 10):
                raise PydanticCustomError("token_id", "its keys must be token ids, and one is not")
        return bias

    def settings(self, defaults: SamplingSettings, max_tokens: int) -> SamplingSettings:
        """The engine's settings for this request."""
        given = {
            name: value
            for name in ("temperature", "top_p", "min_p", "repetition_penalty", "presence_penalty",
                         "frequency_penalty")
            if (value := getattr(self, name)) is not None
        }  # fmt: skip
        if self.top_p == 0:  # of the likeliest tokens, one always stays
            given["top_p"] = 1e-9
        if self.top_k is not None:
            given["top_k"] = max(self.top_k, 0)
        if self.logit_bias is not None:
            given["logit_bias"] = {int(token): bias for token, bias in self.logit_bias.items()}
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        seed = secrets.randbits(48) if self.seed is None else self.seed % 2**63
        changed = {"max_tokens": max_tokens, "seed": seed, "stop": tuple(filter(None, stops)), **given}
        return SamplingSettings.model_validate({**defaults.model_dump(), **changed})


class StreamOptions(Strict):
    """What a stream holds besides the answer."""

    include_usage: bool = False
    """End with a chunk that has no choices and counts the tokens."""
    include_obfuscation: bool | None = None
    """Accepted; nothing is obfuscated here."""


class Function(Strict):
    """A function that the model may call."""

    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """JSON schema of its arguments; without one it takes none."""
    strict: bool | None = None
    """Accepted: arguments always follow the schema here."""


class FunctionTool(Strict):
    """A tool in the form of Chat Completions."""

    type: Literal["function"]
    function: Function

    def plain(self) -> dict[str, Any]:
        """As chat templates and grammars read it."""
        function = self.function.model_dump(exclude_none=True, exclude={"strict"})
        function.setdefault("parameters", {"type": "object", "properties": {}})
        return {"type": "function", "function": function}


class JsonSchema(Strict):
    """A JSON schema that the answer has to follow."""

    model_config = ConfigDict(serialize_by_alias=True, protected_namespaces=())

    name: ToolName
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    description: str | None = None
    strict: bool | None = None
    """Accepted: an answer always follows the schema here."""


class TextForm(Strict):
    """Any text."""

    type: Literal["text"]


class JsonObjectForm(Strict):
    """Any JSON object."""

    type: Literal["json_object"]


class JsonSchemaForm(Strict):
    """JSON that follows a schema, in the form of Chat Completions."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


AnswerForm = Annotated[TextForm | JsonObjectForm | JsonSchemaForm, Field(discriminator="type")]
ToolMode = Literal["none", "auto", "required"]


def arguments_of(text: str) -> Any:
    """A tool call's arguments as chat templates want them: an object where the text is one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text
