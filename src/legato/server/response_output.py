"""The items of a response as they grow, and the events that tell of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import uuid4

from legato.completion import LogprobEntry
from legato.server.openai_logprobs import chat_logprobs
from legato.server.shape import encode_text

Document = dict[str, Any]


class EventWriter:
    """Server-sent events, numbered."""

    def __init__(self) -> None:
        self._number = 0

    def event(self, kind: str, **members: Any) -> str:  # noqa: ANN401 - JSON
        """One event."""
        document = {"type": kind, "sequence_number": self.next_number(), **members}
        return f"event: {kind}\ndata: {json.dumps(document)}\n\n"

    def next_number(self) -> int:
        """The number of an event that the caller writes."""
        self._number += 1
        return self._number - 1


class OpenItem(Protocol):
    """An item that grows."""

    def opened(self) -> str:
        """The events that begin it."""
        ...

    def closed(self, status: str) -> str:
        """The events that end it."""
        ...

    def document(self, status: str) -> Document:
        """The whole item."""
        ...


class MessageItem:
    """Text of the assistant."""

    def __init__(self, events: EventWriter, index: int, *, has_logprobs: bool) -> None:
        """Item number `index` of the output."""
        self._events = events
        self._index = index
        self._id = f"msg_{uuid4().hex}"
        self._texts: list[str] = []
        self._logprobs: list[Document] = []
        self._has_logprobs = has_logprobs
        # What never changes of an event is rendered once, so that a token costs little.
        self._open_delta = (
            'event: response.output_text.delta\ndata: {"type": "response.output_text.delta", '
            f'"item_id": "{self._id}", "output_index": {index}, "content_index": 0, '
            '"sequence_number": '
        )

    def opened(self) -> str:
        """The item, then its one part, both empty."""
        item = {**self.document("in_progress"), "content": []}
        added = self._events.event(
            "response.output_item.added", output_index=self._index, item=item
        )
        return added + self._place_event("response.content_part.added", part=self._part())

    def delta(self, text: str, logprobs: Sequence[LogprobEntry]) -> str:
        """More text, and its event."""
        self._texts.append(text)
        entries = self._entries(logprobs)
        self._logprobs += entries
        return (
            f"{self._open_delta}{self._events.next_number()}, "
            f'"delta": {encode_text(text)}, "logprobs": {json.dumps(entries)}}}\n\n'
        )

    def closed(self, status: str) -> str:
        """Text, part and item, all complete."""
        part, item = self._part(), self.document(status)
        return (
            self._place_event(
                "response.output_text.done", text=part["text"], logprobs=part["logprobs"]
            )
            + self._place_event("response.content_part.done", part=part)
            + self._events.event("response.output_item.done", output_index=self._index, item=item)
        )

    def document(self, status: str) -> Document:
        """The whole item."""
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": [self._part()],
        }

    def _part(self) -> Document:
        text = "".join(self._texts)
        return {
            "type": "output_text",
            "text": text,
            "annotations": [],
            "logprobs": list(self._logprobs),
        }

    def _entries(self, logprobs: Sequence[LogprobEntry]) -> list[Document]:
        if not self._has_logprobs:
            return []
        entries: list[Document] = chat_logprobs(logprobs)["content"]
        return entries

    def _place_event(self, kind: str, **members: Any) -> str:  # noqa: ANN401 - JSON
        place = {"item_id": self._id, "output_index": self._index, "content_index": 0}
        return self._events.event(kind, **place, **members)


class CallItem:
    """A call of a function."""

    def __init__(self, events: EventWriter, index: int, name: str) -> None:
        """Item number `index` of the output."""
        self._events = events
        self._index = index
        self._name = name
        self._id = f"fc_{uuid4().hex}"
        self._call_id = f"call_{uuid4().hex[:24]}"
        self._arguments: list[str] = []

    def opened(self) -> str:
        """The item without arguments."""
        item = self.document("in_progress")
        return self._events.event("response.output_item.added", output_index=self._index, item=item)

    def delta(self, text: str) -> str:
        """More arguments, and their event."""
        self._arguments.append(text)
        return self._call_event("delta", delta=text)

    def closed(self, status: str) -> str:
        """Arguments and item, both complete."""
        item = self.document(status)
        return self._call_event("done", arguments=item["arguments"]) + self._events.event(
            "response.output_item.done", output_index=self._index, item=item
        )

    def document(self, status: str) -> Document:
        """The whole item."""
        return {
            "id": self._id,
            "type": "function_call",
            "status": status,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": "".join(self._arguments),
        }

    def _call_event(self, kind: str, **members: str) -> str:
        place = {"item_id": self._id, "output_index": self._index}
        return self._events.event(f"response.function_call_arguments.{kind}", **place, **members)


class Output:
    """The items of one answer in order; every change gives its events."""

    def __init__(self, events: EventWriter, *, has_logprobs: bool) -> None:
        """`has_logprobs`: messages carry the log-probabilities of their tokens."""
        self._events = events
        self._has_logprobs = has_logprobs
        self._open: OpenItem | None = None
        self.documents: list[Document] = []

    def text(self, text: str, logprobs: Sequence[LogprobEntry]) -> str:
        """More text: of the message that is open, or of a new one."""
        events = ""
        if not isinstance(self._open, MessageItem):
            index = len(self.documents) + (self._open is not None)
            events = self._begin(MessageItem(self._events, index, has_logprobs=self._has_logprobs))
        assert isinstance(self._open, MessageItem)
        return events + self._open.delta(text, logprobs) if text or logprobs else events

    def begin_call(self, name: str) -> str:
        """A call begins."""
        index = len(self.documents) + (self._open is not None)
        return self._begin(CallItem(self._events, index, name))

    def arguments(self, text: str) -> str:
        """More arguments of the call that is open."""
        assert isinstance(self._open, CallItem)
        return self._open.delta(text)

    def close(self, status: str) -> str:
        """The last item ends with `status`. An answer without any item is an empty message."""
        events = self.text("", ()) if self._open is None and not self.documents else ""
        return events + self._close(status)

    def _begin(self, item: OpenItem) -> str:
        events = self._close("completed")
        self._open = item
        return events + item.opened()

    def _close(self, status: str) -> str:
        if self._open is None:
            return ""
        item, self._open = self._open, None
        self.documents.append(item.document(status))
        return item.closed(status)
