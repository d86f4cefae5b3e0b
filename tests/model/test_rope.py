"""Frequency tables against closed forms and limits; the goldens hold them against transformers."""

from __future__ import annotations

from math import pi

import pytest

from legato.models import rope

DIMS, BASE, CONTEXT = 64, 10_000.0, 2048
PLAIN = rope.plain(DIMS, BASE)
LLAMA3 = {"low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_context": CONTEXT}


def turns(frequency: float) -> float:
    return CONTEXT * frequency / (2 * pi)


def test_plain_frequencies_fall_from_one_towards_one_over_the_base():
    assert len(PLAIN) == DIMS // 2
    assert PLAIN[0] == 1.0
    assert PLAIN[16] == pytest.approx(BASE**-0.5)


def test_linear_divides_all_alike():
    assert rope.linear((1.0, 0.5), 4.0) == (0.25, 0.125)


def test_divided_needs_a_factor_for_each_pair():
    assert rope.divided((1.0, 0.5), (1.0, 2.0)) == (1.0, 0.25)
    with pytest.raises(ValueError, match="shorter"):
        rope.divided((1.0, 0.5), (1.0,))


def test_llama3_keeps_fast_pairs_interpolates_slow_ones_and_blends_between():
    scaled = rope.llama3(PLAIN, factor=8.0, **LLAMA3)
    for before, after in zip(PLAIN, scaled, strict=True):
        if turns(before) > 4:
            assert after == before
        elif turns(before) < 1:
            assert after == pytest.approx(before / 8)
        else:
            assert before / 8 <= after <= before
    assert any(before / 8 < after < before for before, after in zip(PLAIN, scaled, strict=True))


def test_yarn_keeps_the_fastest_pair_and_interpolates_the_slowest():
    scaled = rope.yarn(DIMS, BASE, rope.YarnScaling(factor=4.0, original_context=CONTEXT))
    assert scaled[0] == PLAIN[0]
    assert scaled[-1] == pytest.approx(PLAIN[-1] / 4)
    ratios = [before / after for before, after in zip(PLAIN, scaled, strict=True)]
    assert ratios == sorted(ratios)


def test_yarn_of_factor_one_changes_nothing():
    scaling = rope.YarnScaling(factor=1.0, original_context=CONTEXT)
    assert rope.yarn(DIMS, BASE, scaling) == pytest.approx(PLAIN)
    assert scaling.magnitude == 1.0


def test_yarn_s_magnitude_grows_with_the_logarithm_unless_given():
    scaling = rope.YarnScaling(factor=4.0, original_context=CONTEXT)
    assert scaling.magnitude == pytest.approx(1.1386294)
    given = rope.YarnScaling(factor=4.0, original_context=CONTEXT, attention_factor=0.9)
    assert given.magnitude == 0.9
