"""Asking rarely where nothing is drafted, and at once where something changed."""

from __future__ import annotations

from legato.speculative.rest import LONGEST_REST, Rest


def asked(rest: Rest, steps: int, decodes: int = 4, drafted: bool = False) -> list[int]:
    """The steps in which it was asked."""
    found = []
    for step in range(steps):
        if rest.over(decodes):
            rest.judge(drafted)
            found.append(step)
    return found


def test_the_rests_double_up_to_the_longest():
    assert asked(Rest(), 80) == [0, 2, 6, 14, 30, 46, 62, 78]
    assert LONGEST_REST == 16


def test_who_drafts_is_asked_in_every_step():
    assert asked(Rest(), 5, drafted=True) == [0, 1, 2, 3, 4]


def test_another_number_of_sequences_is_asked_about_at_once():
    rest = Rest()
    asked(rest, 40)
    assert asked(rest, 3, decodes=5) == [0, 2]


def test_a_rest_can_be_ended():
    rest = Rest()
    asked(rest, 40)
    rest.end()
    assert asked(rest, 3) == [0, 2]
