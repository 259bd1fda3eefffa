"""Prompts that a policy answers in reinforcement learning, and what is known of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.core.errors import JielongError
from jielong.core.files import hash_json
from jielong.data import Problems, find_sources
from jielong.data.rows import ROW_KINDS, read_rows
from jielong.data.unpacking import BadFileError
from jielong.tokenizer import Tokenizer

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question."""

    messages: Sequence[Message]
    """The conversation so far; the user has the last word."""
    ids: list[int]
    """Its tokens, up to where the assistant begins."""
    row: Mapping[str, Any]
    """All that its file says of it; rewards look here."""

    @property
    def text(self) -> str:
        """What the user said last."""
        return str(self.messages[-1].get("content") or "")


def read_prompts(
    paths: Sequence[Path], tokenizer: Tokenizer, longest: int, problems: Problems
) -> list[Prompt]:
    """Read rows with `prompt` (a text, or messages) or `messages`; an assistant's last turn is left out.

    Args:
        paths: files, folders or globs.
        tokenizer: of the policy.
        longest: prompts of more tokens are left out and counted.
        problems: bad rows are counted and named here.

    Raises:
        JielongError: not one usable prompt.
    """
    found = []
    for source in find_sources(list(paths), problems):
        if source.kind not in ROW_KINDS:
            problems.add(f"unknown kind of prompt file {source.kind or 'without suffix'}", source.name)
            continue
        try:
            for number, row in read_rows(source, problems):
                messages = _messages(row)
                if messages is None:
                    problems.add("row has no prompt that ends with a user's turn", source.name, number)
                    continue
                ids = tokenizer.encode_chat(messages, add_generation_prompt=True)
                if len(ids) > longest:
                    problems.add(f"prompt is longer than {longest} tokens", source.name, number)
                    continue
                found.append(Prompt(messages, ids, row))
        except BadFileError as error:
            problems.add(str(error), source.name)
    if not found:
        reasons = "; ".join(problems.lines())
        raise JielongError(
            f"no usable prompt in {', '.join(map(str, paths))}" + (f": {reasons}" if reasons else "")
        )
    return found


def _messages(row: Mapping[str, Any]) -> list[Message] | None:
    given = row.get("prompt", row.get("messages"))
    messages = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not isinstance(messages, list) or not all(
        isinstance(turn, dict) and "role" in turn for turn in messages
    ):
        return None
    if messages and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    return messages if messages and messages[-1]["role"] == "user" else None


def fingerprint(prompts: Sequence[Prompt]) -> str:
    """Hash of all prompts and what is known of them."""
    return hash_json([[prompt.ids, dict(prompt.row)] for prompt in prompts])
