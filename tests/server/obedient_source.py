"""A token source that writes at random within the request's constraint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from fake_source import EOS, FakeSource

from legato.core import FinishReason, Request, TokenEvent

CLOSERS = tuple(b'"]})')


@dataclass
class ObedientSource(FakeSource):
    """Without a constraint it says `reply`. After `patience` tokens it hurries to the end."""

    patience: int = 30

    def _events(self, request: Request) -> list[TokenEvent]:
        if request.constraint is None:
            return super()._events(request)
        events: list[Any] = []
        for index in range(request.params.n):
            rng = np.random.default_rng(index)
            matcher, mask = request.constraint.start(), np.zeros(9, np.uint32)
            for place in range(request.params.max_tokens or 0):
                matcher.fill_mask(mask)
                choices = (
                    np.unpackbits(mask.view(np.uint8), bitorder="little").nonzero()[0].tolist()
                )
                token = self._choose(choices, place, rng)
                is_last = place + 1 == request.params.max_tokens
                reason = FinishReason.LENGTH if is_last else None
                reason = FinishReason.STOP if token == EOS else reason
                events.append(self._event(request, index, token, place, reason))
                if reason is not None:
                    break
                matcher.accept(token)
        return events

    def _choose(self, choices: list[int], place: int, rng: np.random.Generator) -> int:
        if EOS in choices:
            return EOS
        readable = [t for t in choices if 32 <= t < 127] or choices
        closing = [t for t in readable if t in CLOSERS]
        return int(rng.choice(closing if place > self.patience and closing else readable))
