"""HTTP/1.1 responses out of bytes that may be cut anywhere: head, then the body in any framing.

A general HTTP client spends some 100 µs on each small chunk of a stream, ten times what a token
may cost here. This one does what a streaming POST needs, and nothing else. Source: RFC 9112.
"""

from __future__ import annotations

from collections.abc import Mapping

MAX_HEAD = 65_536
MAX_PLAIN_SIZE_LINE = 10  # hexadecimal digits and the line's end


class HttpError(ValueError):
    """What came is not an HTTP/1.1 response."""


class ResponseParser:
    """One response.

    Attributes:
        status: 0 until the head is complete.
        headers: names in lower case.
        ended: the body is complete.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self._rest = b""
        self._body: ChunkedBody | CountedBody | None = None

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in `data`."""
        if self._body is None:
            data = self._feed_head(data)
            if self._body is None:
                return b""
        body = self._body.feed(data)
        self.ended = self._body.ended
        return body

    def finish(self) -> None:
        """The connection has closed, which ends a body that has no other end."""
        if isinstance(self._body, CountedBody) and self._body.missing is None:
            self.ended = True

    @property
    def chunked(self) -> bool:
        """Whether the head is in, and the body is in chunks."""
        return isinstance(self._body, ChunkedBody)

    @property
    def between_chunks(self) -> bool:
        """Whether the next byte begins a chunk of the body."""
        body = self._body
        return isinstance(body, ChunkedBody) and body.at_rest

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another exchange."""
        return self.ended and self.headers.get("connection", "").lower() != "close"

    def _feed_head(self, data: bytes) -> bytes:
        """What follows the head."""
        self._rest += data
        head, separator, rest = self._rest.partition(b"\r\n\r\n")
        if not separator:
            if len(self._rest) > MAX_HEAD:
                raise HttpError("the head of the response does not end")
            return b""
        self._rest = b""
        self.status, self.headers = _parse_head(head)
        if 100 <= self.status < 200:
            self.status = 0
            return self._feed_head(rest) if rest else b""
        self._body = _body_of(self.headers)
        return rest


class CountedBody:
    """A body of known length; `missing` is None when the end of the connection ends it."""

    def __init__(self, missing: int | None) -> None:
        self.missing = missing

    @property
    def ended(self) -> bool:
        """Whether all of it is here."""
        return self.missing == 0

    def feed(self, data: bytes) -> bytes:
        """`data`, as far as it belongs to the body."""
        if self.missing is None:
            return data
        data = data[: self.missing]
        self.missing -= len(data)
        return data


class ChunkedBody:
    """A body in chunks, each with its size in front."""

    def __init__(self) -> None:
        self.ended = False
        self._rest = b""  # an incomplete size or trailer line
        self._missing = 0  # bytes of the current chunk, its line end included
        self._in_trailer = False

    @property
    def at_rest(self) -> bool:
        """Whether the next byte begins a chunk."""
        return not (self._rest or self._missing or self._in_trailer)

    def feed(self, data: bytes) -> bytes:
        """The content of the chunks."""
        if self.at_rest:
            content = _one_chunk(data)
            if content is not None:
                return content
        data = self._rest + data
        self._rest = b""
        pieces = []
        position = 0
        while position < len(data) and not self.ended:
            if self._missing:
                end = min(len(data), position + self._missing)
                content_end = max(position, position + self._missing - 2)
                pieces.append(data[position : min(end, content_end)])
                self._missing -= end - position
            else:
                end = data.find(b"\r\n", position) + 2
                if end == 1:
                    self._keep(data[position:])
                    break
                self._take_line(data[position : end - 2])
            position = end
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _keep(self, rest: bytes) -> None:
        if len(rest) > MAX_HEAD:
            raise HttpError("a line of the chunked body does not end")
        self._rest = rest

    def _take_line(self, line: bytes) -> None:
        """A chunk's size, or a line of the trailer; an empty one ends it."""
        if self._in_trailer:
            self.ended = not line
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            raise HttpError(f"not the size of a chunk: {line[:40]!r}") from None
        if size < 0:
            raise HttpError(f"not the size of a chunk: {line[:40]!r}")
        self._missing = size + 2 if size else 0
        self._in_trailer = not size


def _one_chunk(data: bytes) -> bytes | None:
    """The content of `data` where it is one whole chunk, as nearly always in a stream."""
    start = data.find(b"\r\n", 0, MAX_PLAIN_SIZE_LINE) + 2
    size = len(data) - start - 2
    if start < 3 or size < 1 or data[: start - 2].lower().lstrip(b"0") != b"%x" % size:
        return None
    return data[start:-2] if data.endswith(b"\r\n") else None


def _parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    status_line, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/1.") or not status.isdigit():
        raise HttpError(f"not an HTTP/1.1 response: {status_line[:40]!r}")
    pairs = (line.partition(":") for line in lines)
    return int(status), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _body_of(headers: Mapping[str, str]) -> ChunkedBody | CountedBody:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return ChunkedBody()
    length = headers.get("content-length")
    if length is not None and not length.isdigit():
        raise HttpError(f"not a content length: {length[:40]!r}")
    return CountedBody(int(length) if length is not None else None)
