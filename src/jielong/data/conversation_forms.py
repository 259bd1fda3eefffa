"""The forms in which instruction data is published, each turned into chat messages.

| form | columns | known from |
|---|---|---|
| messages | messages: [{role, content}], tools? | OpenAI fine-tuning, TRL |
| ShareGPT | conversations: [{from, value}], system?, tools? | FastChat, LLaMA-Factory |
| Alpaca | instruction, input?, output, system?, history? | Stanford Alpaca; Dolly's context and response |
| instances | instruction, instances: [{input, output}] | Self-Instruct |
| prompt-completion | prompt, completion (texts or lists of messages) | TRL |
| question-answer | question, answer, rationale? | GSM8K, FLAN chain of thought |
| tree | prompt: {text, role, replies: [...]} | Open Assistant; the best-ranked replies are followed |
"""

import json
from collections.abc import Callable
from typing import Any

Message = dict[str, Any]
Chat = tuple[list[Message], list[dict[str, Any]] | None]

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "function_call",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
_KEPT = ("tool_calls", "tool_call_id", "name", "reasoning_content", "weight")


class FormError(Exception):
    """A row that is no conversation; its text is the reason to count."""


def conversations_of(row: dict[str, Any]) -> list[Chat]:
    """Detect a row's form and make its chats, usually one: (messages, tools).

    Raises:
        FormError: the row has none of the forms, or is broken.
    """
    for columns, read in _FORMS:
        if all(row.get(column) is not None for column in columns):
            return read(row)
    raise FormError(f"row is not instruction data (its columns: {', '.join(map(str, row)) or 'none'})")


def _messages(row: dict[str, Any]) -> list[Chat]:
    return [([message_of(item, "role", "content") for item in list_of(row["messages"])], tools_of(row))]


def _sharegpt(row: dict[str, Any]) -> list[Chat]:
    turns = list_of(row["conversations"])
    messages = system_of(row)
    for turn in turns:
        keys = ("from", "value") if isinstance(turn, dict) and "from" in turn else ("role", "content")
        messages.append(message_of(turn, *keys))
    return [(messages, tools_of(row))]


def _alpaca(row: dict[str, Any]) -> list[Chat]:
    messages = system_of(row)
    for turn in row.get("history") or []:
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise FormError("history is not a list of [question, answer]")
        messages += [turn_of("user", turn[0]), turn_of("assistant", turn[1])]
    output = row.get("output") if row.get("output") is not None else row.get("response")
    if output is None:
        raise FormError("instruction without output")
    given = row.get("input") or row.get("context") or ""
    return [([*messages, asked_of(row["instruction"], given), turn_of("assistant", output)], None)]


def _instances(row: dict[str, Any]) -> list[Chat]:
    chats: list[Chat] = []
    for instance in list_of(row["instances"]):
        if not isinstance(instance, dict) or "output" not in instance:
            raise FormError("instance without output")
        asked = asked_of(row["instruction"], instance.get("input") or "")
        chats.append(([asked, turn_of("assistant", instance["output"])], None))
    return chats


def _prompt_completion(row: dict[str, Any]) -> list[Chat]:
    completion = row.get("completion") if row.get("completion") is not None else row.get("response")
    if isinstance(row["prompt"], dict):
        return _tree(row["prompt"])
    if completion is None:
        raise FormError("prompt without completion")
    sides = []
    for role, side in (("user", row["prompt"]), ("assistant", completion)):
        if isinstance(side, list):
            sides += [message_of(item, "role", "content") for item in side]
        else:
            sides.append(turn_of(role, side))
    return [(system_of(row) + sides, tools_of(row))]


def _question_answer(row: dict[str, Any]) -> list[Chat]:
    answer = turn_of("assistant", row["answer"])
    rationale = row.get("rationale")
    if isinstance(rationale, str) and rationale.strip():
        # The reasons come first, so that the answer can follow from them.
        answer["content"] = f"{rationale.rstrip()}\n{answer['content']}"
    return [([turn_of("user", row["question"]), answer], None)]


def _tree(root: dict[str, Any]) -> list[Chat]:
    messages: list[Message] = []
    node: Any = root
    while isinstance(node, dict):
        messages.append(message_of(node, "role", "text"))
        replies = [reply for reply in node.get("replies") or [] if isinstance(reply, dict)]
        node = min(replies, key=_rank, default=None)
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()  # a question that nobody answered
    return [(messages, None)]


def _rank(reply: dict[str, Any]) -> float:
    rank = reply.get("rank")
    return float(rank) if isinstance(rank, int | float) else float("inf")


_FORMS: tuple[tuple[tuple[str, ...], Callable[[dict[str, Any]], list[Chat]]], ...] = (
    (("messages",), _messages),
    (("conversations",), _sharegpt),
    (("instruction", "instances"), _instances),
    (("instruction",), _alpaca),
    (("prompt",), _prompt_completion),
    (("question", "answer"), _question_answer),
)


def message_of(item: Any, role_key: str, content_key: str) -> Message:
    """A chat message from a turn whose role and content stand under these keys."""
    if not isinstance(item, dict):
        raise FormError("turn is not an object")
    role = _ROLES.get(str(item.get(role_key)).lower())
    if role is None:
        raise FormError(f"unknown role {str(item.get(role_key))[:40]!r}")
    content = item.get(content_key)
    if role == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": _tool_calls(content)}
    if isinstance(content, list):
        content = "".join(_text_part(part) for part in content)
    if content is not None and not isinstance(content, str):
        raise FormError(f"content of a turn is not text but {type(content).__name__}")
    message: Message = {"role": role, "content": content or ""}
    message |= {key: item[key] for key in _KEPT if item.get(key) is not None}
    return message


def _text_part(part: Any) -> str:
    if isinstance(part, dict) and part.get("type", "text") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise FormError("content of a turn has parts that are not text")


def _tool_calls(content: Any) -> list[dict[str, Any]]:
    try:
        value = json.loads(content) if isinstance(content, str) else content
    except json.JSONDecodeError:
        raise FormError("function call is not JSON") from None
    calls = value if isinstance(value, list) else [value]
    if not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
        raise FormError("function call has no name")
    return [
        {"type": "function", "function": {"name": call["name"], "arguments": call.get("arguments") or {}}}
        for call in calls
    ]


def turn_of(role: str, content: Any) -> Message:
    """A chat message from a plain text or number."""
    if isinstance(content, int | float) and not isinstance(content, bool):
        content = str(content)
    if not isinstance(content, str):
        raise FormError(f"{role} turn is not text")
    return {"role": role, "content": content}


def asked_of(instruction: Any, given: Any) -> Message:
    """The user's message of an instruction and what it is given, as Alpaca has them."""
    asked = turn_of("user", instruction)
    if isinstance(given, str) and given.strip():
        asked["content"] = f"{asked['content'].rstrip()}\n\n{given}"
    return asked


def system_of(row: dict[str, Any]) -> list[Message]:
    """The system message that a row names, or none."""
    system = row.get("system")
    return [turn_of("system", system)] if isinstance(system, str) and system.strip() else []


def tools_of(row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The tools that a row names, as objects or as their JSON."""
    tools = row.get("tools")
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except json.JSONDecodeError:
            raise FormError("tools are not JSON") from None
    if not tools:
        return None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise FormError("tools are not a list of objects")
    return tools


def list_of(value: Any) -> list[Any]:
    """A list of turns that is one, and not empty."""
    if not isinstance(value, list) or not value:
        raise FormError("turns are not a list, or an empty one")
    return value
