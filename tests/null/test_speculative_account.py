"""What became of drafts, by hand."""

from __future__ import annotations

import pytest

from legato.scheduler.stats import SpeculationFigures
from legato.speculative.account import DraftAccount


def test_gains_by_hand():
    account = DraftAccount()
    account.chosen(plain_ns=100.0, predicted_ns=120.0, decodes=2, expected=1.5)
    account.verified(drafted=2, accepted=1)
    account.verified(drafted=1, accepted=0)
    figures = account.figures
    assert (figures.drafts, figures.drafted, figures.accepted) == (2, 3, 1)
    assert figures.tried[:2] == (2, 1)
    assert figures.right[:2] == (1, 0)
    assert figures.predicted_gain == pytest.approx((100 + 1.5 * 50) / 120)
    assert figures.real_gain(130) == pytest.approx((100 + 50) / 130)


def test_figures_stay_the_same_object_until_something_changes():
    account = DraftAccount()
    assert account.figures is account.figures
    before = account.figures
    account.drafting(7)
    assert account.figures is not before
    assert account.figures.since(before) == SpeculationFigures(drafter_ns=7)
