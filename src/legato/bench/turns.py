"""Engines that answer the same prompts, some steps each in turn: a machine that drifts, or is
disturbed for a second, does so for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    *,
    clock: Clock = REAL,
    turn_ns: int = TURN_NS,
) -> dict[str, Answers]:
    """Let each of `engines`, which are idle, answer all `prompts` together, greedily."""
    params = SamplingParams(temperature=0.0, max_tokens=max_tokens)
    found = {name: Answers([[] for _ in prompts]) for name in engines}
    for engine in engines.values():
        for number, prompt in enumerate(prompts):
            engine.add(Request(id=str(number), prompt=prompt, params=params))
    order = list(engines)
    while busy := [name for name in order if engines[name].has_work]:
        for name in busy:
            _take_turn(engines[name], found[name], clock, turn_ns)
        order.reverse()  # so that nobody is always the one after the pause
    return found


def _take_turn(engine: Engine, answers: Answers, clock: Clock, turn_ns: int) -> None:
    start_ns = end_ns = clock.now_ns()
    while engine.has_work and end_ns - start_ns < turn_ns:
        events = engine.step()
        end_ns = clock.now_ns()
        for event in events:
            if event.token_id is not None:
                answers.texts[int(event.request_id)].append(event.token_id)
    answers.seconds += (end_ns - start_ns) / 1e9
