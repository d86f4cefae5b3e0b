"""Counting answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from legato.adaptive.decisions import Stop
from legato.adaptive.samples import Sample


def count_votes(samples: Sequence[Sample]) -> dict[str, int]:
    """Answer → samples that give it: most votes first, ties by the sample that came first.

    Samples without an answer, and pruned ones, have no vote.
    """
    votes: dict[str, int] = {}
    for sample in samples:
        if sample.answer is not None and not sample.pruned:
            votes[sample.answer] = votes.get(sample.answer, 0) + 1
    return dict(sorted(votes.items(), key=lambda entry: -entry[1]))  # a stable sort


def top_two(votes: Mapping[str, int]) -> tuple[int, int]:
    """Votes of the first and of the second answer; 0 where there is none."""
    first, second, *_ = [*votes.values(), 0, 0]
    return first, second


def majority(samples: Sequence[Sample]) -> Stop:
    """The first sample that gives the answer with the most votes.

    Of several answers with as many votes it is the one that was given first. Without any answer
    it is the first sample that was not pruned, or sample 0. The confidence is
    `majority_probability` of the two leading answers; None without any answer.
    """
    votes = count_votes(samples)
    if not votes:
        kept = [sample.index for sample in samples if not sample.pruned]
        return Stop(kept[0] if kept else samples[0].index)
    leader = next(iter(votes))
    voters = (s for s in samples if s.answer == leader and not s.pruned)
    return Stop(next(voters).index, majority_probability(*top_two(votes)))


def majority_probability(first: int, second: int) -> float:
    """P(the leading answer is the more probable of the two), given `first` ≥ `second` votes.

    With a uniform prior the leader's share p of the votes that fall on either has the density
    Beta(first + 1, second + 1), and P(p > 1/2) = P(X ≤ first) for X ~ B(first + second + 1, 1/2)
    (Aggarwal et al. 2023, arXiv 2305.11860, section 3, Beta criterion). Exact but for the last
    division.
    """
    trials = first + second + 1
    at_most = sum(math.comb(trials, k) for k in range(first + 1))
    return at_most / (1 << trials)
