"""`--speculate` is read strictly, and says what is wrong."""

from __future__ import annotations

import pytest

from legato.errors import InvalidRequestError
from legato.speculative.make import make_speculator
from legato.speculative.settings import SpeculationSettings, parse_speculation


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("off", SpeculationSettings()),
        ("lookup", SpeculationSettings(drafter="lookup")),
        ("suffix,k=4", SpeculationSettings(drafter="suffix", k=4)),
        ("draft=a=b.gguf,k=3", SpeculationSettings(drafter="draft", model="a=b.gguf", k=3)),
        ("suffix,shared=5000,k=2", SpeculationSettings(drafter="suffix", k=2, shared=5000)),
    ],
)
def test_settings_are_what_was_written(text, settings):
    assert parse_speculation(text) == settings


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no drafter ''"),
        ("magic", "no drafter 'magic'"),
        ("suffix,k", "k is a number from 0 to 32"),
        ("suffix,k=33", "k is a number from 0 to 32"),
        ("suffix,k=-1", "k is a number from 0 to 32"),
        ("suffix,k=²", "k is a number from 0 to 32"),
        ("suffix,depth=3", "no option 'depth'"),
        ("suffix,drafter=lookup", "no option 'drafter'"),
        ("suffix,shared=2000000", "shared is a number"),
        ("draft", "needs a model"),
        ("draft=,k=2", "needs a model"),
        ("suffix=x", "needs a model"),
        ("draft=x,shared=100", "only the drafters suffix and recall"),
        ("lookup,shared=100", "only the drafters suffix and recall"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_form(text, said):
    with pytest.raises(InvalidRequestError, match=said) as refusal:
        parse_speculation(text)
    assert refusal.value.param == "speculate"
    assert "give off, lookup, suffix, recall, draft=MODEL or self" in str(refusal.value)


def test_a_model_is_not_made_of_nothing():
    with pytest.raises(InvalidRequestError, match="no model to draft with"):
        make_speculator(SpeculationSettings(drafter="draft", model="x"))


def test_nothing_is_drafted_where_speculation_is_off():
    assert make_speculator(SpeculationSettings()) is None
