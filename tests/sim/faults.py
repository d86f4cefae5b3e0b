"""Faults on demand: instead of a call, after it, or at any line of the engine's code."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import legato
from legato.engine import Engine
from null.fake_backend import FakeBackend

ROOT = Path(legato.__file__).parent
PARTS = (
    *("engine.py", "live_requests.py", "step_times.py", "runner.py", "decode_rows.py"),
    *("sampling_slots.py", "constraint_masks.py", "scheduler", "kvcache", "cost", "questions.py"),
)
TRACED = tuple(str(ROOT / part) for part in PARTS)
TRUSTED = {"drop", "recover", "clear", "_fail", "_fail_faulty"}
"""What puts the accounts right after a fault must not fail itself."""

BOUNDARY = "step"
"""Faults inside of this function are caught; those of its own lines are nobody's."""

OPERATIONS = {
    "pool": ("allocate", "retain", "release", "keep"),
    "prefix": ("root", "match", "insert", "place", "hold", "drop"),
    "cache": ("lookup", "open", "extend", "advance", "fork", "close", "room", "_new_table"),
}
BACKEND = ("run", "copy_blocks")


class InjectedFaultError(MemoryError):
    """A fault that the simulation asked for."""


class Injector:
    """Makes one call of `engine` fail, or one line, between `arm` and `disarm`.

    Attributes:
        fired: whether the fault happened since it was armed.
        whole_step: it may cost every request of the step, and not only one.
    """

    def __init__(self, engine: Engine, backend: FakeBackend, random: Random) -> None:
        self._random = random
        self._left = 0
        self._group: tuple[str, ...] = ()
        self._late = False
        self._armed = self.fired = self.whole_step = False
        self.counts = dict.fromkeys(("operation", "backend", "line"), 0)
        self._kind = ""
        parts = {"pool": engine._cache.pool, "prefix": engine._cache.prefix, "cache": engine._cache}
        for name, part in parts.items():
            for operation in OPERATIONS[name]:
                self._wrap(part, operation)
        for operation in BACKEND:
            self._wrap(backend, operation)

    def arm(self, *kinds: str) -> None:
        """Something of one of `kinds` will fail, if it comes to that."""
        self._kind = self._random.choice(kinds)
        self._armed, self.fired = True, False
        self._late = self._random.random() < 0.5
        self.whole_step = self._kind != "operation"
        most = {"operation": 10, "backend": 1, "line": 700}[self._kind]
        self._left = int(most ** self._random.random())
        self._group = BACKEND if self._kind == "backend" else sum(OPERATIONS.values(), ())
        if self._kind == "line":
            sys.settrace(self._enter)

    def disarm(self) -> None:
        """From now on nothing fails."""
        self._armed = False
        if self._kind == "line":
            sys.settrace(None)

    def _wrap(self, part: object, operation: str) -> None:
        function: Callable[..., Any] = getattr(part, operation)

        def wrapped(*args: Any) -> Any:
            if not self._armed or operation not in self._group or self._kind == "line":
                return function(*args)
            self._left -= 1
            if self._left == 0 and not self._late:
                self._fire(operation)
            result = function(*args)
            if self._left == 0:
                self._fire(operation)
            return result

        setattr(part, operation, wrapped)

    def _fire(self, where: str) -> None:
        self._armed = False
        self.fired = True
        self._left = -1
        self.counts[self._kind] += 1
        raise InjectedFaultError(where)

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        """Follow the lines of a function that is entered, unless it repairs."""
        code = frame.f_code
        if not code.co_filename.startswith(TRACED) or code.co_name == BOUNDARY:
            return None
        caller: FrameType | None = frame
        while caller is not None:
            if caller.f_code.co_name in TRUSTED:
                return None
            caller = caller.f_back
        return self._line

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line" and self._armed:
            self._left -= 1
            if self._left == 0:
                self._fire(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        return self._line
