"""The events of the Responses route: a response grows item by item, and each event says what was added."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from jielong.lm.tool_calls import ToolCall
from jielong.server.chat_task import Part

Event = dict[str, Any]


class ResponseWriter:
    """Turns an answer's parts into the events that build a response.

    Args:
        response: the response object as it is before anything was generated; grows with the events.
    """

    def __init__(self, response: dict[str, Any]):
        self.response = response
        self._number = 0
        self._message: dict[str, Any] | None = None
        """The message item that is being written."""

    def begin(self) -> Iterator[Event]:
        """The events before the first token."""
        yield self._event("response.created", response=dict(self.response))
        yield self._event("response.in_progress", response=dict(self.response))

    def write(self, parts: Sequence[Part], entries: Sequence[dict[str, Any]]) -> Iterator[Event]:
        """The events of the answer's next parts.

        Args:
            parts: texts and tool calls.
            entries: log-probabilities of the tokens that they were made of.
        """
        waiting = list(entries)
        for part in parts:
            if isinstance(part, ToolCall):
                yield from self._close_message("completed")
                yield from self._write_call(part)
            else:
                yield from self._write_text(part, waiting)
                waiting = []
        if waiting and self._message is not None:
            self._message["content"][0]["logprobs"] += waiting

    def end(self, finish_reason: str | None, usage: dict[str, Any], now: int) -> Iterator[Event]:
        """The events after the last token."""
        complete = finish_reason != "length"
        status = "completed" if complete else "incomplete"
        if not self.response["output"]:  # an empty answer is still an answer
            yield from self._open_message()
        yield from self._close_message(status)
        self.response |= {"status": status, "usage": usage, "completed_at": now if complete else None}
        if not complete:
            self.response["incomplete_details"] = {"reason": "max_output_tokens"}
        yield self._event(f"response.{status}", response=self.response)

    def _write_text(self, text: str, entries: list[dict[str, Any]]) -> Iterator[Event]:
        yield from self._open_message()
        assert self._message is not None  # noqa: S101 - it was opened
        content = self._message["content"][0]
        content["text"] += text
        content["logprobs"] += entries
        yield self._event(
            "response.output_text.delta", **self._place(), content_index=0, delta=text, logprobs=entries
        )

    def _open_message(self) -> Iterator[Event]:
        if self._message is not None:
            return
        item: dict[str, Any] = {
            "id": f"msg_{uuid.uuid4().hex}",
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        yield from self._add(item)
        self._message = item
        part: dict[str, Any] = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield self._event("response.content_part.added", **self._place(), content_index=0, part=dict(part))
        item["content"] = [part]

    def _close_message(self, status: str) -> Iterator[Event]:
        if self._message is None:
            return
        content = self._message["content"][0]
        said = {"text": content["text"], "logprobs": content["logprobs"]}
        yield self._event("response.output_text.done", **self._place(), content_index=0, **said)
        yield self._event("response.content_part.done", **self._place(), content_index=0, part=content)
        self._message["status"] = status
        yield self._event("response.output_item.done", output_index=self._last, item=self._message)
        self._message = None

    def _write_call(self, call: ToolCall) -> Iterator[Event]:
        item: dict[str, Any] = {
            "id": f"fc_{uuid.uuid4().hex}",
            "type": "function_call",
            "call_id": f"call_{uuid.uuid4().hex[:24]}",
            "name": call.name,
            "arguments": "",
            "status": "in_progress",
        }
        yield from self._add(item)
        arguments = call.arguments
        yield self._event("response.function_call_arguments.delta", **self._place(), delta=arguments)
        item |= {"arguments": arguments, "status": "completed"}
        yield self._event(
            "response.function_call_arguments.done", **self._place(), name=call.name, arguments=arguments
        )
        yield self._event("response.output_item.done", output_index=self._last, item=item)

    def _add(self, item: dict[str, Any]) -> Iterator[Event]:
        self.response["output"].append(item)
        yield self._event("response.output_item.added", output_index=self._last, item=dict(item))

    @property
    def _last(self) -> int:
        return len(self.response["output"]) - 1

    def _place(self) -> dict[str, Any]:
        return {"item_id": self.response["output"][-1]["id"], "output_index": self._last}

    def _event(self, kind: str, **fields: Any) -> Event:
        self._number += 1
        return {"type": kind, "sequence_number": self._number - 1, **fields}
