"""Dividing a number of samples among questions: most to those where they change most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from legato.adaptive.votes import majority_probability

LOOKAHEAD = 8
"""Samples that are looked ahead: one alone seldom changes the leading answer."""


@lru_cache(maxsize=4096)
def expected_gain(first: int, second: int, count: int) -> float:
    """By how much `count` more votes raise the expected probability that the leading answer is
    the majority, from `first` ≥ `second` votes.

    The value of information: Σ_j P(j of them for the leader) · majority_probability(after), less
    the probability now. j is beta-binomial: Beta(first + 1, second + 1) as in
    `majority_probability`. Never negative but for rounding, because the better answer is chosen
    after the votes.
    """
    after = math.fsum(
        _predictive(first, second, count, j) * _leading(first + j, second + count - j)
        for j in range(count + 1)
    )
    return max(0.0, after - _leading(first, second))


def gain_per_sample(first: int, second: int, most: int = LOOKAHEAD) -> float:
    """The largest expected gain per sample over all numbers of samples up to `most` ≥ 1."""
    return max(expected_gain(first, second, count) / count for count in range(1, most + 1))


def share_samples(votes: Sequence[tuple[int, int]], samples: int, room: Sequence[int]) -> list[int]:
    """How many of `samples` each question gets next: greedily, one by one, to the question with
    the highest gain per sample; of equals to the first.

    Args:
        votes: of the first and the second answer of each question so far.
        samples: how many there are to give.
        room: most that each question takes.

    A question that has been given some counts as if its leader had won those votes: what comes
    of them is not known yet, and this is the likeliest.
    """
    given = [0] * len(votes)
    gains = [_gain(pair, 0, most) for pair, most in zip(votes, room, strict=True)]
    for _ in range(min(samples, sum(room))):
        chosen = max(range(len(gains)), key=gains.__getitem__)
        given[chosen] += 1
        gains[chosen] = _gain(votes[chosen], given[chosen], room[chosen])
    return given


def _gain(votes: tuple[int, int], given: int, room: int) -> float:
    if given >= room:
        return -1.0
    return gain_per_sample(votes[0] + given, votes[1], min(LOOKAHEAD, room - given))


def _leading(first: int, second: int) -> float:
    return majority_probability(max(first, second), min(first, second))


def _predictive(first: int, second: int, count: int, wins: int) -> float:
    """P(`wins` of `count` votes go to the leader): beta-binomial."""
    return (
        math.comb(first + wins, wins)
        * math.comb(second + count - wins, count - wins)
        / math.comb(first + second + count + 1, count)
    )
