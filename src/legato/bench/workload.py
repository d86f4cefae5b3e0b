"""What is asked, and when: a seeded stream of conversations.

Arrivals, lengths and words come from separate random streams of one seed, so that a change of one
leaves the others as they were.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count, repeat

import numpy as np

from legato.bench.arrivals import Arrivals, Users, poisson
from legato.bench.fidelity import prose_texts
from legato.bench.lengths import Fixed, Lengths


@dataclass(frozen=True, slots=True)
class Turn:
    """One question of a conversation, and how many tokens its answer may have."""

    prompt: str
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns that follow each other; `at_s` is when the first is due, from the start of the run.

    `shared` comes before everything else and is the same in every conversation of a workload.
    """

    index: int
    at_s: float
    turns: tuple[Turn, ...]
    shared: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A stream of conversations.

    Attributes:
        arrivals: open loop by a process, or closed loop by a number of users.
        prompt_words: length of each question in words.
        output_tokens: length of each answer.
        shared_prefix_words: length of a text that opens every conversation.
        turns: questions in a conversation.
        think_s: time between an answer and the next question.
        seed: makes the stream reproducible.
    """

    arrivals: Arrivals | Users = field(default_factory=lambda: poisson(1.0))
    prompt_words: Lengths = field(default_factory=lambda: Fixed(200))
    output_tokens: Lengths = field(default_factory=lambda: Fixed(64))
    shared_prefix_words: int = 0
    turns: int = 1
    think_s: float = 0.0
    seed: int = 0

    def conversations(self) -> Iterator[Conversation]:
        """The stream, the same for the same seed; in a closed loop every `at_s` is 0."""
        random_times, random_prompts, random_outputs, random_words, random_prefix = (
            np.random.default_rng([self.seed, stream]) for stream in range(5)
        )
        shared = random_text(random_prefix, self.shared_prefix_words)
        words, tokens = (
            self.prompt_words.stream(random_prompts),
            self.output_tokens.stream(random_outputs),
        )
        for index, at_s in zip(count(), self._times(random_times), strict=False):
            turns = tuple(
                Turn(random_text(random_words, next(words)), next(tokens))
                for _ in range(self.turns)
            )
            yield Conversation(index, at_s, turns, shared)

    def _times(self, generator: np.random.Generator) -> Iterator[float]:
        return repeat(0.0) if isinstance(self.arrivals, Users) else self.arrivals.times(generator)


@cache
def vocabulary() -> tuple[str, ...]:
    """Plain English words, sorted."""
    return tuple(sorted(set(re.findall(r"[a-z]{2,}", " ".join(prose_texts()).lower()))))


def random_text(generator: np.random.Generator, words: int) -> str:
    """`words` words of the vocabulary, each equally likely."""
    known = vocabulary()
    return " ".join(known[number] for number in generator.integers(0, len(known), words))
