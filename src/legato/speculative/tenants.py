"""One memory for each of the tenants that were here last; nothing is shared between them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

MAX_TENANTS = 64

M = TypeVar("M")


class PerTenant(Generic[M]):
    """Memories by tenant, at most `MAX_TENANTS`: whoever was away longest is forgotten."""

    def __init__(self, make: Callable[[], M]) -> None:
        self._make = make
        self._memories: OrderedDict[str, M] = OrderedDict()

    def of(self, tenant: str) -> M:
        """The memory of `tenant`, a new one where it has none."""
        memory = self._memories.get(tenant)
        if memory is None:
            memory = self._memories[tenant] = self._make()
        self._memories.move_to_end(tenant)
        while len(self._memories) > MAX_TENANTS:
            self._memories.popitem(last=False)
        return memory
