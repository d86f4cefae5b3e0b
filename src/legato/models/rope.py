"""Angles per position of rotary embeddings, for every scaling. Pure functions of numbers.

Each gives dims / 2 frequencies, radians per position, fastest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log, pi

Frequencies = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class YarnScaling:
    """Parameters of YaRN (Peng et al. 2023). `factor`: context after / before."""

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float | None = None
    truncate: bool = True

    @property
    def magnitude(self) -> float:
        """Factor on cos and sin: 0.1 ln(factor) + 1, section 3.4, unless given."""
        if self.attention_factor is not None:
            return self.attention_factor
        return 0.1 * log(self.factor) + 1.0 if self.factor > 1 else 1.0


def plain(dims: int, base: float) -> Frequencies:
    """base^(−2i / dims): RoFormer (Su et al. 2021), section 3.2.2."""
    return tuple(base ** (-2.0 * pair / dims) for pair in range(dims // 2))


def linear(frequencies: Sequence[float], factor: float) -> Frequencies:
    """Position interpolation (Chen et al. 2023): positions shrink by `factor`."""
    return tuple(frequency / factor for frequency in frequencies)


def divided(frequencies: Sequence[float], factors: Sequence[float]) -> Frequencies:
    """Each frequency by its own factor, as GGUF stores Llama 3's in ``rope_freqs.weight``."""
    return tuple(f / factor for f, factor in zip(frequencies, factors, strict=True))


def llama3(
    frequencies: Sequence[float],
    *,
    factor: float,
    low_frequency_factor: float,
    high_frequency_factor: float,
    original_context: int,
) -> Frequencies:
    """Llama 3.1's scaling (Meta's llama-models, `apply_scaling`).

    Pairs that turn more than `high_frequency_factor` times in the original context stay, those
    that turn less than `low_frequency_factor` times are interpolated, between them smoothly.
    """

    def scale(frequency: float) -> float:
        turns = original_context * frequency / (2 * pi)
        width = high_frequency_factor - low_frequency_factor
        kept = min(max((turns - low_frequency_factor) / width, 0.0), 1.0)
        return kept * frequency + (1 - kept) * frequency / factor

    return tuple(scale(frequency) for frequency in frequencies)


def yarn(dims: int, base: float, scaling: YarnScaling) -> Frequencies:
    """YaRN, "NTK by parts" (Peng et al. 2023, equations 21–23), ramp over pair indices."""
    low = _pair_with_turns(scaling.beta_fast, dims, base, scaling.original_context)
    high = _pair_with_turns(scaling.beta_slow, dims, base, scaling.original_context)
    if scaling.truncate:
        low, high = floor(low), ceil(high)
    low, high = max(low, 0), min(high, dims - 1)
    width = high - low or 0.001
    mixed = []
    for pair, frequency in enumerate(plain(dims, base)):
        interpolated = min(max((pair - low) / width, 0.0), 1.0)
        mixed.append(frequency * (1 - interpolated) + frequency / scaling.factor * interpolated)
    return tuple(mixed)


def _pair_with_turns(turns: float, dims: int, base: float, context: int) -> float:
    """The (fractional) pair that turns `turns` times within `context` positions."""
    return dims * log(context / (turns * 2 * pi)) / (2 * log(base))
