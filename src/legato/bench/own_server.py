"""A `legato serve` in a process of its own, for what asks it over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from legato.errors import LegatoError

LISTENING = "Legato listens on "
LEAVE_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnServer:
    """A server that listens: its process and its address."""

    pid: int
    url: str

    @property
    def port(self) -> int:
        """Of its address."""
        return int(self.url.rpartition(":")[2])


@contextmanager
def running_server(model: str, *options: str) -> Iterator[OwnServer]:
    """A server of `model` with `options` of `legato serve`, on a free port; stops it after.

    Raises LegatoError where it does not start; its reason is on stderr then.
    """
    command = [sys.executable, "-m", "legato", "serve", "--model", model, "--port", "0"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        yield OwnServer(pid=process.pid, url=_listening_url(process))
    finally:
        process.terminate()
        try:
            process.wait(timeout=LEAVE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listening_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(LISTENING):
            return line.removeprefix(LISTENING).strip()
    raise LegatoError(
        f"the server did not start (exit status {process.wait()}); its reason is above"
    )
