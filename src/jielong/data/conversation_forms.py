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
    return [([_message(item, "role", "content") for item in _list(row["messages"])], _tools(row))]


def _sharegpt(row: dict[str, Any]) -> list[Chat]:
    turns = _list(row["conversations"])
    messages = _system(row)
    for turn in turns:
        keys = ("from", "value") if isinstance(turn, dict) and "from" in turn else ("role", "content")
        messages.append(_message(turn, *keys))
    return [(messages, _tools(row))]


def _alpaca(row: dict[str, Any]) -> list[Chat]:
    messages = _system(row)
    for turn in row.get("history") or []:
        if not isinstance(turn, list | tuple) or len(turn) != 2:
            raise FormError("history is not a list of [question, answer]")
        messages += [_turn("user", turn[0]), _turn("assistant", turn[1])]
    output = row.get("output") if row.get("output") is not None else row.get("response")
    if output is None:
        raise FormError("instruction without output")
    given = row.get("input") or row.get("context") or ""
    return [([*messages, _asked(row["instruction"], given), _turn("assistant", output)], None)]


def _instances(row: dict[str, Any]) -> list[Chat]:
    chats: list[Chat] = []
    for instance in _list(row["instances"]):
        if not isinstance(instance, dict) or "output" not in instance:
            raise FormError("instance without output")
        asked = _asked(row["instruction"], instance.get("input") or "")
        chats.append(([asked, _turn("assistant", instance["output"])], None))
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
            sides += [_message(item, "role", "content") for item in side]
        else:
            sides.append(_turn(role, side))
    return [(_system(row) + sides, _tools(row))]


def _question_answer(row: dict[str, Any]) -> list[Chat]:
    answer = _turn("assistant", row["answer"])
    rationale = row.get("rationale")
    if isinstance(rationale, str) and rationale.strip():
        # The reasons come first, so that the answer can follow from them.
        answer["content"] = f"{rationale.rstrip()}\n{answer['content']}"
    return [([_turn("user", row["question"]), answer], None)]


def _tree(root: dict[str, Any]) -> list[Chat]:
    messages: list[Message] = []
    node: Any = root
    while isinstance(node, dict):
        messages.append(_message(node, "role", "text"))
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


def _message(item: Any, role_key: str, content_key: str) -> Message:
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


def _turn(role: str, content: Any) -> Message:
    if isinstance(content, int | float) and not isinstance(content, bool):
        content = str(content)
    if not isinstance(content, str):
        raise FormError(f"{role} turn is not text")
    return {"role": role, "content": content}


def _asked(instruction: Any, given: Any) -> Message:
    asked = _turn("user", instruction)
    if isinstance(given, str) and given.strip():
        asked["content"] = f"{asked['content'].rstrip()}\n\n{given}"
    return asked


def _system(row: dict[str, Any]) -> list[Message]:
    system = row.get("system")
    return [_turn("system", system)] if isinstance(system, str) and system.strip() else []


def _tools(row: dict[str, Any]) -> list[dict[str, Any]] | None:
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


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise FormError("turns are not a list, or an empty one")
    return value
