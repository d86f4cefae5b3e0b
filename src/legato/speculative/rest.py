"""How often to ask where nothing was drafted lately: asking takes time too."""

from __future__ import annotations

LONGEST_REST = 16
"""Most steps between two questions."""


class Rest:
    """After each answer of nothing twice as many steps pass before the next question, until
    something is drafted, a sequence ends, or another number of them decodes.

    Attributes:
        length: steps from one question to the next.
    """

    def __init__(self) -> None:
        self.length = 1
        self._left = 0
        self._decodes = 0

    def over(self, decodes: int) -> bool:
        """A step of `decodes` sequences begins: whether to ask in it."""
        if decodes != self._decodes:
            self._decodes = decodes
            self.end()
        self._left -= 1
        return self._left < 0

    def judge(self, drafted: bool) -> None:
        """It was asked; `drafted`: whether there was anything to do."""
        self.length = 1 if drafted else min(2 * self.length, LONGEST_REST)
        self._left = self.length - 1

    def end(self) -> None:
        """Ask in the next step."""
        self.length, self._left = 1, 0
