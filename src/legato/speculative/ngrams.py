"""Which token follows which, counted over texts: guesses where a text repeats nothing.

The texts are the model's own, so that the counts estimate what the model itself would choose.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]

ORDER = 3
"""Longest context, in tokens."""

BUCKETS = 8
"""Estimated probabilities are told apart by eighths."""

LEAST_PROBABILITY = 0.1
"""Followers less likely than this are not kept."""

NUM_CLASSES = ORDER * BUCKETS
HELD_OUT = 10
"""Every tenth text is not counted but used to see how often each class is right."""

_PRIOR_TRIALS = 4.0
_PRIOR_RATE = 0.2
_FACTOR = 0x9E3779B97F4A7C15
_MASK = (1 << 62) - 1


@dataclass(frozen=True, slots=True)
class Follower:
    """The likeliest token after some context, and how far to trust it: a class from 0 on."""

    token: int
    confidence: int


class NGramTable:
    """The likeliest token after each known context of 1 to `ORDER` tokens.

    Contexts are kept as hashes; a collision makes a wrong guess and nothing worse.
    """

    def __init__(
        self, followers: Mapping[int, Follower] | None = None, rates: Sequence[float] | None = None
    ) -> None:
        """`rates`: how often the tokens of each class are right."""
        self.followers = dict(followers or {})
        self.rates = tuple(rates or (_PRIOR_RATE,) * NUM_CLASSES)

    def arrays(self) -> tuple[I64, I32, U8]:
        """Keys of contexts, the token that follows each, and its class; all [contexts]."""
        known = self.followers.values()
        return (
            np.fromiter(self.followers, np.int64, len(self.followers)),
            np.array([follower.token for follower in known], np.int32),
            np.array([follower.confidence for follower in known], np.uint8),
        )

    def follower(self, context: Sequence[int]) -> Follower | None:
        """What follows the longest known end of `context`, of which the last tokens count."""
        found, key = None, 0
        for token in context[: -ORDER - 1 : -1]:  # `context_keys`, twice as fast
            key = (key * _FACTOR + token + 1) & _MASK
            found = self.followers.get(key, found)
        return found


def count_ngrams(texts: Sequence[Sequence[int]]) -> NGramTable:
    """The table of `texts` (token ids each), whose first `ORDER` tokens are context only."""
    counted = [text for i, text in enumerate(texts) if i % HELD_OUT]
    held_out = [text for i, text in enumerate(texts) if not i % HELD_OUT]
    rates = _rates(NGramTable(_followers(counted)), held_out)
    return NGramTable(_followers(texts), rates)


def context_keys(context: Sequence[int]) -> Iterator[int]:
    """Hashes of the last token, the last two, … of `context`."""
    key = 0
    for token in context[: -ORDER - 1 : -1]:
        key = (key * _FACTOR + token + 1) & _MASK
        yield key


def _followers(texts: Iterable[Sequence[int]]) -> dict[int, Follower]:
    counts: list[defaultdict[int, Counter[int]]] = [defaultdict(Counter) for _ in range(ORDER)]
    shorter: dict[int, int] = {}
    for text in texts:
        for place in range(ORDER, len(text)):
            before = 0
            for order, key in enumerate(context_keys(text[place - ORDER : place])):
                counts[order][key][text[place]] += 1
                shorter[key] = before
                before = key
    return _likeliest(counts, shorter)


def _likeliest(
    counts: Sequence[Mapping[int, Counter[int]]], shorter: Mapping[int, int]
) -> dict[int, Follower]:
    """The likeliest follower by probabilities interpolated with those of the next shorter context
    (Witten and Bell 1991, "The zero-frequency problem", method C)."""
    known: dict[int, tuple[int, float]] = {}
    followers: dict[int, Follower] = {}
    for order, contexts in enumerate(counts):
        for key, seen in contexts.items():
            token, count = seen.most_common(1)[0]
            other, probability = known.get(shorter[key], (-1, 0.0))
            backoff = probability if other == token else 0.0
            estimate = (count + len(seen) * backoff) / (seen.total() + len(seen))
            known[key] = (token, estimate)
            if estimate >= LEAST_PROBABILITY:
                bucket = min(BUCKETS - 1, int(estimate * BUCKETS))
                followers[key] = Follower(token, order * BUCKETS + bucket)
    return followers


def _rates(table: NGramTable, texts: Iterable[Sequence[int]]) -> list[float]:
    """How often the followers in `table` are right, by class, over `texts` it was not made of."""
    right = [_PRIOR_TRIALS * _PRIOR_RATE] * NUM_CLASSES
    tried = [_PRIOR_TRIALS] * NUM_CLASSES
    for text in texts:
        for place in range(ORDER, len(text)):
            found = table.follower(text[place - ORDER : place])
            if found is not None:
                right[found.confidence] += found.token == text[place]
                tried[found.confidence] += 1
    return [r / t for r, t in zip(right, tried, strict=True)]
