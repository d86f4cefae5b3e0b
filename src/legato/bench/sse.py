"""Server-sent events out of bytes that may be cut anywhere.

Works on bytes, so that a cut inside a UTF-8 character is a cut like any other. Source: the WHATWG
HTML standard, section "Interpreting an event stream"; fields other than `data` are dropped.
"""

from __future__ import annotations


class EventSplitter:
    """Takes bytes as they come, gives the `data` of each event that is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._skip_newline = False  # a line ended in \r, its \n may be in the next bytes

    @property
    def at_rest(self) -> bool:
        """Whether the next byte begins an event."""
        return not (self._rest or self._data or self._skip_newline)

    def feed(self, data: bytes) -> list[bytes]:
        """Events that `data` completes."""
        if not data:
            return []
        if self.at_rest and _is_plain(data):
            if data.count(b"\n") == 2:
                return [data[5:-2].removeprefix(b" ")]
            return [event[5:].removeprefix(b" ") for event in data[:-2].split(b"\n\n")]
        return self._feed_lines(data)

    def _feed_lines(self, data: bytes) -> list[bytes]:
        if self._skip_newline:
            data = data.removeprefix(b"\n")
        data = self._rest + data
        self._skip_newline = data.endswith(b"\r")
        lines = data.splitlines()
        complete = data.endswith((b"\n", b"\r"))
        self._rest = b"" if complete or not lines else lines.pop()
        return [event for line in lines if (event := self._take(line)) is not None]

    def _take(self, line: bytes) -> bytes | None:
        """The event that `line` ends, if it does."""
        if line:
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
            return None
        if not self._data:
            return None
        event = b"\n".join(self._data)
        self._data.clear()
        return event


def _is_plain(data: bytes) -> bool:
    """Whether `data` is whole events of one `data` line each, ended by \\n: nearly always."""
    return (
        data.startswith(b"data:")
        and data.endswith(b"\n\n")
        and b"\r" not in data
        and data.count(b"\n") == 2 * data.count(b"\n\ndata:") + 2
    )
