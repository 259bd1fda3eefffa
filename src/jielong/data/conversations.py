"""Read instruction data in any of the usual forms and make conversations of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jielong.data.conversation_forms import FormError, conversations_of
from jielong.data.documents import whole_characters
from jielong.data.problems import Problems
from jielong.data.rows import Row, read_all_rows
from jielong.data.sources import Source

Message = dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """One chat to learn from; it ends with an assistant's turn."""

    id: str
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All that is said, a turn a line."""
        return "\n".join(str(message.get("content") or "") for message in self.messages)

    @property
    def content(self) -> str:
        """All that is learned of it, as canonical JSON."""
        return json.dumps([self.messages, self.tools], sort_keys=True, ensure_ascii=False)


def read_conversations(
    paths: Sequence[Path | str] | Path | str, problems: Problems
) -> Iterator[Conversation]:
    """Read chats from .jsonl, .json, .csv, .tsv and .parquet files (packed or not), folders and globs.

    The form is detected in each row; see `jielong.data.conversation_forms`. Roles come out as system, user,
    assistant and tool.

    Args:
        paths: what the user gave.
        problems: bad files and rows are counted and named here, never raised.

    Raises:
        JielongError: a path does not exist.
    """
    for source, number, row in read_all_rows(paths, problems, "instruction file"):
        yield from _read_row(source, number, row, problems)


def check_turns(messages: Sequence[Mapping[str, Any]]) -> None:
    """Check that turns follow each other as in a chat.

    At most one system turn, at the beginning; then user and assistant in turns, where tool results may
    follow an assistant; the assistant has the last word.

    Raises:
        FormError: they do not; its text is the reason.
    """
    previous = "start"
    for message in messages:
        role = message["role"]
        if previous not in _MAY_FOLLOW[role]:
            raise FormError(_WRONG_ORDER[role])
        previous = role
        content = message.get("content")
        if not content and not (role == "assistant" and message.get("tool_calls")) and role != "tool":
            raise FormError(f"{role} turn is empty")
    if previous != "assistant":
        raise FormError("chat does not end with the assistant")


_MAY_FOLLOW = {
    "system": ("start",),
    "user": ("start", "system", "assistant"),
    "assistant": ("user", "tool"),
    "tool": ("assistant", "tool"),
}
_WRONG_ORDER = {
    "system": "system turn is not the first",
    "user": "two user turns in a row",
    "assistant": "assistant turn without a user turn before it",
    "tool": "tool result without a tool call before it",
}


def _read_row(source: Source, number: int, row: Row, problems: Problems) -> Iterator[Conversation]:
    key = name_row(source, number, row)
    try:
        found = conversations_of(row)
    except FormError as error:
        problems.add(str(error), source.name, number)
        return
    for index, (messages, tools) in enumerate(found):
        try:
            check_turns(messages)
        except FormError as error:
            problems.add(str(error), source.name, number)
            continue
        identity = key if len(found) == 1 else f"{key}#{index + 1}"
        yield Conversation(identity, clean_texts(messages), clean_texts(tools), metadata_of(row))


def name_row(source: Source, number: int, row: Row) -> str:
    """A row's own id, or its number, after the name of its file."""
    own = row.get("id")
    return whole_characters(f"{source.name}:{own if isinstance(own, str | int) and own != '' else number}")


def metadata_of(row: Row) -> dict[str, Any]:
    """What a row says about itself that reports use."""
    return {name: row[name] for name in ("lang", "license", "skill", "task") if row.get(name) is not None}


def clean_texts(value: Any) -> Any:
    """Valid Unicode in every text of a JSON value."""
    if isinstance(value, str):
        return whole_characters(value)
    if isinstance(value, list):
        return [clean_texts(item) for item in value]
    if isinstance(value, dict):
        return {clean_texts(key): clean_texts(item) for key, item in value.items()}
    return value
