"""Engines that answer the same prompts, some steps each in turn: a machine that drifts, or is
disturbed for a second, does so for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from legato.clock import Clock, RealClock
from legato.core import Request, SamplingParams
from legato.engine import Engine

TURN_NS = 50_000_000
"""How long an engine steps before it is another one's turn: many steps, of which the first finds
the caches full of something else, and short beside what disturbs a machine."""

REAL = RealClock()


@dataclass(slots=True)
class Answers:
    """The tokens that each prompt was answered with, and the seconds of all steps."""

    texts: list[list[int]]
    seconds: float = 0.0


def answer_in_turns(
    engines: Mapping[str, Engine],
    prompts: Sequence[tuple[int, ...]],
    max_tokens: int,
    at_a_time: int,
    *,
    clock: Clock = REAL,
    turn_ns: int = TURN_NS,
) -> dict[str, Answers]:
    """Let each of `engines`, which are idle, answer all `prompts` greedily, `at_a_time` of them at
    any time: when one is answered the next begins."""
    found = {
        name: _Answering(engine, prompts, max_tokens, at_a_time) for name, engine in engines.items()
    }
    order = list(found.values())
    while busy := [one for one in order if one.engine.has_work]:
        for one in busy:
            one.take_turn(clock, turn_ns)
        order.reverse()  # so that nobody is always the one after the pause
    return {name: one.answers for name, one in found.items()}


class _Answering:
    """An engine with the prompts that it has to answer."""

    def __init__(
        self,
        engine: Engine,
        prompts: Sequence[tuple[int, ...]],
        max_tokens: int,
        at_a_time: int,
    ) -> None:
        self.engine = engine
        self.answers = Answers([[] for _ in prompts])
        params = SamplingParams(temperature=0.0, max_tokens=max_tokens)
        self._left = (
            Request(id=str(number), prompt=prompt, params=params)
            for number, prompt in enumerate(prompts)
        )
        self._begin(at_a_time)

    def take_turn(self, clock: Clock, turn_ns: int) -> None:
        """Some steps."""
        start_ns = end_ns = clock.now_ns()
        while self.engine.has_work and end_ns - start_ns < turn_ns:
            events = self.engine.step()
            end_ns = clock.now_ns()
            for event in events:
                if event.token_id is not None:
                    self.answers.texts[int(event.request_id)].append(event.token_id)
            self._begin(sum(event.finish_reason is not None for event in events))
        self.answers.seconds += (end_ns - start_ns) / 1e9

    def _begin(self, count: int) -> None:
        for request in islice(self._left, count):
            self.engine.add(request)
