"""Which token came last after which context in a tenant's outputs, and how often in a row."""

from __future__ import annotations

from collections.abc import Sequence

from legato.speculative.ngrams import NUM_CLASSES, ORDER, Follower, context_keys

RUNS = NUM_CLASSES // ORDER
"""How often in a row a follower was right is told apart up to this."""

PRIOR_RATES = tuple(
    rate
    for first, last in ((0.1, 0.3), (0.2, 0.5), (0.35, 0.75))
    for rate in (first + (last - first) * run / (RUNS - 1) for run in range(RUNS))
)
"""Of each class to begin with: longer contexts and longer runs are surer."""


class NGramMemory:
    """Followers by context, of about the last `max_tokens` tokens: when the young generation is
    full, the old one goes."""

    def __init__(self, max_tokens: int) -> None:
        self._room = max(1, max_tokens // 2)
        self._young: dict[int, Follower] = {}
        self._old: dict[int, Follower] = {}
        self._added = 0

    def add(self, tokens: Sequence[int]) -> None:
        """Remember an output, from its newest tokens where it is too long."""
        tokens = tokens[-self._room :]
        if self._added + len(tokens) > self._room:
            self._old, self._young, self._added = self._young, {}, 0
        self._added += len(tokens)
        for place in range(1, len(tokens)):
            before = tokens[max(0, place - ORDER) : place]
            for order, key in enumerate(context_keys(before)):
                self._young[key] = self._after(key, order, tokens[place])

    def follower(self, context: Sequence[int]) -> Follower | None:
        """What followed the longest known end of `context`, of which the last tokens count."""
        found = None
        for key in context_keys(context):
            found = self._young.get(key) or self._old.get(key) or found
        return found

    def _after(self, key: int, order: int, token: int) -> Follower:
        known = self._young.get(key) or self._old.get(key)
        run = 0
        if known is not None and known.token == token:
            run = min(RUNS - 1, known.confidence % RUNS + 1)
        return Follower(token, order * RUNS + run)
