"""Tool calls in generated text, in the form that Qwen3 and Hermes models write.

<tool_call>
{"name": "weather", "arguments": {"city": "Taipei"}}
</tool_call>
"""

import json
from dataclasses import dataclass
from typing import NoReturn

_OPENING = "<tool_call>"
_CLOSING = "</tool_call>"
_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool."""

    name: str
    arguments: str
    """JSON text of an object."""


class ToolCallParser:
    """Take generated text piece by piece, and tell texts and tool calls apart.

    The result does not depend on how the text was cut into pieces. What is not a well-formed call stays text,
    so that nothing the model wrote is lost; only white space around a call is.
    """

    def __init__(self) -> None:
        self._held = ""
        self._after_call = False
        self._closings_tried = 0

    def push(self, piece: str) -> list[str | ToolCall]:
        """Take the next piece; return the texts (none empty) and the calls that are certain now, in order."""
        self._held += piece
        return [part for part in self._read(final=False) if part != ""]

    def flush(self) -> list[str | ToolCall]:
        """End the text; return what was held back."""
        return [part for part in self._read(final=True) if part != ""]

    def _read(self, final: bool) -> list[str | ToolCall]:
        found: list[str | ToolCall] = []
        while True:
            if self._after_call:
                self._held = self._held.lstrip(_SPACE)
                self._after_call = not self._held
            before, opening, rest = self._held.partition(_OPENING)
            shown = before.rstrip(_SPACE)
            if not opening:
                certain = len(before) if final else _certain_length(before)
                found.append(before[:certain])
                self._held = before[certain:]
                return found
            read = self._read_call(rest)
            if read is not None:
                found += [shown, read[0]]
                self._held = read[1]
                self._after_call = True
            elif final:
                found.append(before + opening)
                self._held = rest
            else:
                found.append(shown)
                self._held = self._held[len(shown) :]
                return found
            self._closings_tried = 0

    def _read_call(self, text: str) -> tuple[ToolCall, str] | None:
        """Read a call whose opening tag stands before this text; return it and the text behind it."""
        closings = text.count(_CLOSING)
        if closings == self._closings_tried:  # nothing has come that could complete it
            return None
        self._closings_tried = closings
        start = len(text) - len(text.lstrip(_SPACE))
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            return None
        behind = text[end:].lstrip(_SPACE)
        call = _call_of(value)
        if call is None or not behind.startswith(_CLOSING):
            return None
        return call, behind[len(_CLOSING) :]


def _call_of(value: object) -> ToolCall | None:
    if not isinstance(value, dict):
        return None
    name, arguments = value.get("name"), value.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return ToolCall(name, json.dumps(arguments, ensure_ascii=False))


def _certain_length(text: str) -> int:
    """Length of the text without an end that may turn out to be the beginning of a call."""
    for length in range(min(len(text), len(_OPENING) - 1), 0, -1):
        if text.endswith(_OPENING[:length]):
            text = text[:-length]
            break
    return len(text.rstrip(_SPACE))


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
