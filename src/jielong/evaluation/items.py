"""Exam questions: reading them, and turning each into the text that a model continues."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from jielong.core.errors import JielongError, UsageError
from jielong.core.files import read_jsonl
from jielong.core.recipe import Settings
from jielong.marking.checks import Check

PromptForm = Literal["chat", "base"]


class Message(Settings):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "user", "assistant"]
    """Who speaks."""
    content: str
    """What is said."""


class ExamItem(Settings):
    """One question of an exam, in plain form (with a check) or in four-choice form (with choices)."""

    model_config = ConfigDict(extra="ignore")

    id: str
    """Name of the question, unique in its exam."""
    skill: str
    """What it tests."""
    lang: Literal["zh", "en"]
    """Language of the question."""
    form: Literal["plain", "choice"]
    """plain: the model writes an answer; choice: the model's likelihood chooses one of the texts given."""
    messages: Annotated[tuple[Message, ...], Field(min_length=1)]
    """The conversation so far; the last turn is the user's."""
    check: Check | None = None
    """How a plain answer is marked."""
    choices: tuple[str, ...] = ()
    """The texts to choose from, of a choice question."""
    answer: int = 0
    """Index of the right choice."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's")
        if self.form == "plain" and self.check is None:
            raise ValueError("a plain question needs a check")
        if self.form == "choice" and (len(self.choices) < 2 or not all(self.choices)):
            raise ValueError("a choice question needs two or more choices, none of them empty")
        if self.form == "choice" and not 0 <= self.answer < len(self.choices):
            raise ValueError(f"answer {self.answer} is not one of {len(self.choices)} choices")
        return self


def read_exam(path: Path) -> list[ExamItem]:
    """Read an exam file (JSON Lines), or `exams.jsonl` of a world folder.

    Raises:
        JielongError: on a missing file, a question that is not whole (naming the line), a repeated id, or no
            question at all.
    """
    file = path / "exams.jsonl" if path.is_dir() else path
    items: list[ExamItem] = []
    seen: set[tuple[str, str]] = set()
    for number, row in enumerate(read_jsonl(file), 1):
        try:
            item = ExamItem.parse(row)
        except UsageError as error:
            raise JielongError(f"{file}:{number} is not an exam question: {error}") from None
        if (item.id, item.form) in seen:
            raise JielongError(f"{file}:{number} repeats the question {item.id!r}; every id must be unique")
        seen.add((item.id, item.form))
        items.append(item)
    if not items:
        raise JielongError(f"{file} holds no exam question")
    return items


_SPEAKERS = {
    "zh": {"user": "問：", "assistant": "答："},
    "en": {"user": "Question: ", "assistant": "Answer: "},
}


def base_prompt(item: ExamItem) -> str:
    """Write a question as plain text that a model which has never seen the chat template can continue.

    The prompt ends with "答：" or "Answer:"; a system message stands above as a line of its own.
    """
    speakers = _SPEAKERS[item.lang]
    lines = [speakers.get(message.role, "") + message.content.strip() for message in item.messages]
    return "\n".join([*lines, speakers["assistant"].rstrip()])


def base_continuation(item: ExamItem, text: str) -> str:
    """Give a choice as it continues `base_prompt`: English has a space after "Answer:", Chinese has none."""
    return f" {text}" if item.lang == "en" else text


def chat_messages(item: ExamItem) -> list[dict[str, Any]]:
    """Give the messages as the chat template takes them."""
    return [{"role": message.role, "content": message.content} for message in item.messages]
