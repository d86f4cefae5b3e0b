"""Lines to a file descriptor from a thread of its own, so that who logs never waits."""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress

MAX_LINES = 10_000
DRAIN_S = 1.0


class LineWriter:
    """Takes lines at once and writes them in order; a stream for `logging.StreamHandler`.

    Nobody may read what is written, and the pipe is full: then up to `MAX_LINES` wait, and further
    ones are lost.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(MAX_LINES)
        threading.Thread(target=self._write_all, name="legato-log", daemon=True).start()

    def write(self, text: str) -> None:
        """Hand over `text`."""
        with suppress(queue.Full):
            self._lines.put_nowait(text)

    def flush(self) -> None:
        """Nothing: it is called after each line, and must not wait."""

    def drain(self) -> None:
        """Wait until all lines are written, at most `DRAIN_S` seconds."""
        written = threading.Event()
        with suppress(queue.Full):
            self._lines.put_nowait(written)
            written.wait(DRAIN_S)

    def _write_all(self) -> None:
        """Past any buffer of Python's, whose lock a blocked write would hold at the exit."""
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            rest = line.encode(errors="backslashreplace")
            with suppress(OSError):
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
