"""Logging of a server: one line a record, whatever is in it, as text or as JSON.

A record may carry named values: `logger.info("call", extra=fields(request_id=..., status=200))`.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from legato.server.log_writer import LineWriter
from legato.server.settings import LogFormat, ServerSettings

FIELDS = "legato_fields"  # the attribute of a record that holds its named values


def fields(**values: Any) -> dict[str, dict[str, Any]]:  # noqa: ANN401
    """Named values for the `extra` of a record."""
    return {FIELDS: values}


def configure_logging(settings: ServerSettings, stream: TextIO | None = None) -> None:
    """Write Legato's records to `stream`, standard error by default, as `settings` say.

    Calls once more for the same process replaces what the last call set.
    """
    handler = QuietHandler(stream or _standard_error())
    handler.setFormatter(FORMATTERS[settings.log_format]())
    own = logging.getLogger("legato")
    own.handlers[:] = [handler]
    own.propagate = False
    own.setLevel(settings.log_level.upper())
    calls = logging.getLogger("legato.calls")
    calls.setLevel(logging.INFO if settings.log_calls else logging.WARNING)


def _standard_error() -> TextIO | LineWriter:
    """Standard error, as something that nobody waits for where it is a file."""
    try:
        return LineWriter(sys.stderr.fileno())
    except (OSError, ValueError):
        return sys.stderr


class QuietHandler(logging.StreamHandler[TextIO | LineWriter]):
    """A handler that loses records rather than disturb the server: the pipe may be closed."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Nothing can be said where nothing can be written."""

    def close(self) -> None:
        """Let the last lines out, if anybody reads them."""
        if isinstance(self.stream, LineWriter):
            self.stream.drain()
        super().close()


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII, so that nothing a caller sends can forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        """`record` as a line."""
        return json.dumps(described(record), default=str)


class TextFormatter(logging.Formatter):
    """time LEVEL logger message key=value …, with control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """`record` as a line."""
        document = described(record)
        head = [document.pop(key) for key in ("time", "level", "logger", "message")]
        pairs = [f"{key}={json.dumps(value, default=str)}" for key, value in document.items()]
        return " ".join([*(_printable(str(part)) for part in head), *pairs])


FORMATTERS: dict[LogFormat, type[logging.Formatter]] = {
    "json": JsonFormatter,
    "text": TextFormatter,
}


def described(record: logging.LogRecord) -> dict[str, Any]:
    """What a record says, in the order of importance."""
    document: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
        **getattr(record, FIELDS, {}),
    }
    if record.exc_info and record.exc_info[1]:
        document["error"] = "".join(traceback.format_exception(record.exc_info[1]))
    return document


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
