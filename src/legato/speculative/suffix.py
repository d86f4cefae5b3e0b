"""Suffix drafts: the longest passage that the text repeats, in itself or in earlier outputs."""

from __future__ import annotations

from collections.abc import Sequence

from legato.speculative.accept import PRIOR_RATES
from legato.speculative.automaton import ROOT, SuffixAutomaton
from legato.speculative.copying import copied, match_class
from legato.speculative.tenants import PerTenant

MIN_MATCH = 2
"""Shorter matches are chance."""


class SuffixDrafter:
    """Copies what followed the longest earlier occurrence of the text's end.

    With `shared_tokens`, outputs that ended are remembered for later requests of the same tenant:
    at most that many tokens, the oldest forgotten first.
    """

    name = "suffix"
    priors = PRIOR_RATES

    def __init__(self, shared_tokens: int = 0) -> None:
        self._shared_tokens = shared_tokens
        self._memories = PerTenant(lambda: Memory(shared_tokens))

    def open(self, tenant: str) -> SuffixDraft:
        """The state of a new sequence of `tenant`."""
        return SuffixDraft(self._memories.of(tenant) if self._shared_tokens else None)


class Memory:
    """Outputs of one tenant in two generations: when the young one is full, the old one goes."""

    def __init__(self, max_tokens: int) -> None:
        self._room = max(1, max_tokens // 2)
        self.young = SuffixAutomaton()
        self.old = SuffixAutomaton()

    def add(self, tokens: Sequence[int]) -> None:
        """Remember an output, from its newest tokens where it is too long."""
        if len(self.young.text) + len(tokens) > self._room:
            self.old, self.young = self.young, SuffixAutomaton()
        self.young.extend(tokens[-self._room :])


class Cursor:
    """The longest end of one text that occurs in another, which may grow."""

    def __init__(self, automaton: SuffixAutomaton) -> None:
        self.automaton = automaton
        self.state = ROOT
        self.length = 0

    def follow(self, token: int) -> None:
        """The text goes on with `token`."""
        self.state, self.length = self.automaton.follow(self.state, self.length, token)

    def propose(self, count: int) -> list[int]:
        """What followed in the other text."""
        text, end = self.automaton.text, self.automaton.end_of(self.state)
        return text[end + 1 : end + 1 + count]


class SuffixDraft:
    """One text, its automaton, and cursors into what is remembered."""

    def __init__(self, memory: Memory | None) -> None:
        self._own = SuffixAutomaton()
        self._memory = memory
        self._cursors = [Cursor(a) for a in (memory.young, memory.old)] if memory else []
        self._classes: list[int] = []

    def extend(self, tokens: Sequence[int]) -> None:
        """Note what the text repeats with `tokens` at its end."""
        self._own.extend(tokens)
        for cursor in self._cursors:
            for token in tokens:
                cursor.follow(token)

    def propose(self, count: int) -> list[int]:
        """A copy from the text itself, or from memory where the match there is longer."""
        length, end = self._own.repeated_suffix()
        best = max(self._cursors, key=lambda cursor: cursor.length, default=None)
        if best is not None and best.length > max(length, MIN_MATCH - 1):
            length, tokens = best.length, best.propose(count)
        else:
            tokens = copied(self._own.text, end, count) if length >= MIN_MATCH else []
        self._classes = [match_class(length)] * len(tokens)
        return tokens

    def finish(self, output: Sequence[int]) -> None:
        """The text has ended with `output`; remember that for later ones."""
        if self._memory is not None:
            self._memory.add(output)

    @property
    def confidences(self) -> list[int]:
        """Higher for a longer match."""
        return self._classes
