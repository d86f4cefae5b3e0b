"""Tells in the log when the engine stops making progress: once a stall, and once at its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

CHECKS_PER_LIMIT = 4
LEAST_INTERVAL_S = 0.05

_log = logging.getLogger(__name__)


class Watchdog:
    """Asks now and then how old the last step is. /health answers the same question by itself."""

    def __init__(self, step_age_s: Callable[[], float], stall_after: float) -> None:
        """`step_age_s` is the time without progress although there is work, in seconds."""
        self._step_age_s = step_age_s
        self._stall_after = stall_after
        self._is_stalled = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="legato-watchdog", daemon=True)

    def start(self) -> None:
        """Watch from a thread of its own until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. Once, after `start`."""
        self._stopped.set()
        self._thread.join()

    def check(self) -> None:
        """Log if the engine has stalled since the last check, or goes on again."""
        age_s = self._step_age_s()
        was_stalled, self._is_stalled = self._is_stalled, age_s > self._stall_after
        if self._is_stalled and not was_stalled:
            _log.error(
                "the engine has made no step for %.0f s although there is work; /health says 503",
                age_s,
            )
        elif was_stalled and not self._is_stalled:
            _log.warning("the engine makes steps again")

    def _watch(self) -> None:
        interval_s = max(LEAST_INTERVAL_S, self._stall_after / CHECKS_PER_LIMIT)
        while not self._stopped.wait(interval_s):
            self.check()
