"""What all routes of conversations share: a chat becomes requests, and steps become texts and tool calls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jielong.generation import Grammar, Request, SamplingSettings, Step
from jielong.generation.grammar import json_object_grammar, json_schema_grammar, tool_call_grammar
from jielong.lm.tool_calls import ToolCall, ToolCallParser
from jielong.server.errors import ApiError
from jielong.server.logprobs import chat_entry
from jielong.server.request_types import JsonObjectForm, JsonSchemaForm, TextForm
from jielong.server.served_model import ServedModel
from jielong.tokenizer import Tokenizer

Part = str | ToolCall


@dataclass(frozen=True, slots=True)
class ChatTask:
    """A conversation that a model is to go on with."""

    messages: Sequence[Mapping[str, Any]]
    """As chat templates read them."""
    tools: Sequence[Mapping[str, Any]]
    """Tools that may be called, in the form of Chat Completions."""
    choice: str
    """`auto`, `required`, or the name of the tool that has to be called."""
    parallel: bool
    """Whether one answer may hold several tool calls."""
    form: TextForm | JsonObjectForm | JsonSchemaForm | None
    """What the answer must look like."""
    settings: SamplingSettings
    answers: int = 1
    candidates: int | None = None
    """How many of the likeliest tokens to give for each token; None gives no log-probabilities."""


def requests_of(model: ServedModel, task: ChatTask) -> list[Request]:
    """The engine's requests for a chat; takes a while for a long one, so it is called in a thread.

    Raises:
        ApiError: if the model cannot chat.
        JielongError: if the template refuses the chat, or a schema is not one that can be followed.
    """
    tokenizer = model.engine.tokenizer
    if tokenizer.chat_template is None:
        raise ApiError(
            400,
            f"{model.name} has no chat template, so it cannot chat; use /v1/completions",
            param="model",
        )
    prompt = tokenizer.encode_chat(task.messages, tools=task.tools or None, add_generation_prompt=True)
    model.check_length(prompt)
    grammar = _grammar(model, task)
    return [
        Request(prompt, task.settings, stream=number, candidates=task.candidates, grammar=grammar)
        for number in range(task.answers)
    ]


def _grammar(model: ServedModel, task: ChatTask) -> Grammar | None:
    tokenizer, ends = model.engine.tokenizer, model.engine.end_ids
    has_form = task.form is not None and not isinstance(task.form, TextForm)
    if task.tools:
        if has_form and task.choice == "auto":
            raise ApiError(
                400,
                "an answer cannot be bound to a form while the model may also choose a tool; set tool_choice "
                "to none or required, or leave response_format away",
                param="response_format",
            )
        return tool_call_grammar(tokenizer, ends, task.tools, task.choice, parallel=task.parallel)
    if isinstance(task.form, JsonSchemaForm):
        return json_schema_grammar(tokenizer, ends, task.form.json_schema.schema_)
    if isinstance(task.form, JsonObjectForm):
        return json_object_grammar(tokenizer, ends)
    return None


class AnswerReader:
    """Reads one answer's steps: texts and tool calls as they become certain, and what they add up to."""

    def __init__(self, model: ServedModel, task: ChatTask):
        self._tokenizer: Tokenizer = model.engine.tokenizer
        self._end_ids = model.engine.end_ids
        self._parser = ToolCallParser() if task.tools else None
        self._with_logprobs = task.candidates is not None
        self.text = ""
        self.calls: list[ToolCall] = []
        self.entries: list[dict[str, Any]] = []
        """Log-probabilities, if they were asked for: one entry a token, end tokens left out."""
        self.tokens = 0
        self.finish_reason: str | None = None

    def read(self, steps: Sequence[Step]) -> tuple[list[Part], list[dict[str, Any]]]:
        """Take the next steps; return the parts and the log-probabilities that they add."""
        parts: list[Part] = []
        for step in steps:
            parts += self._parts(step.text)
            if step.finish_reason is not None:
                parts += self._parser.flush() if self._parser is not None else []
                self.finish_reason = step.finish_reason
        self.tokens += len(steps)
        self.text += "".join(part for part in parts if isinstance(part, str))
        self.calls += [part for part in parts if isinstance(part, ToolCall)]
        if self.calls and self.finish_reason == "stop":
            self.finish_reason = "tool_calls"
        entries: list[dict[str, Any]] = []
        if self._with_logprobs:
            shown = [step for step in steps if step.token not in self._end_ids]
            entries = [chat_entry(self._tokenizer, step) for step in shown]
            self.entries += entries
        return parts, entries

    def _parts(self, text: str) -> Sequence[Part]:
        if self._parser is not None:
            return self._parser.push(text)
        return [text] if text else []
