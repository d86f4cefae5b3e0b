"""Compiled grammars, the most recently used ones, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteCache(Generic[T]):
    """A mapping that forgets what was used longest ago. Safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.num_bytes = 0
        """Sizes of all entries, as their owners stated them."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> T | None:
        """The value of `key`, which is now the newest; None where it is not there."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: T, size: int) -> None:
        """Add `value` of `size` bytes, and forget the oldest that no longer fit."""
        with self._lock:
            self._forget(key)
            self._entries[key] = (value, size)
            self.num_bytes += size
            while self.num_bytes > self._max_bytes:
                self._forget(next(iter(self._entries)))

    def _forget(self, key: Hashable) -> None:
        _, size = self._entries.pop(key, (None, 0))
        self.num_bytes -= size
