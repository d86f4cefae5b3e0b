"""Calls and results that belong together, and those that do not."""

import pytest

from legato.errors import InvalidRequestError
from legato.tools.turns import check_calls

USER = {"role": "user", "content": "x"}


def calling(*ids):
    return {"role": "assistant", "content": None, "tool_calls": [{"id": i} for i in ids]}


def result(call_id):
    return {"role": "tool", "tool_call_id": call_id, "content": "x"}


def test_each_call_has_one_result_in_any_order():
    check_calls([USER, calling("a", "b"), result("b"), result("a"), USER], adjacent=True)
    check_calls([USER, calling("a"), USER, result("a")], adjacent=False)
    check_calls([], adjacent=True)


@pytest.mark.parametrize(
    ("turns", "place"),
    [
        ([USER, result("a")], 1),
        ([calling("a"), result("b")], 1),
        ([calling("a"), result("a"), result("a")], 2),
        ([calling("a"), USER, result("a")], 1),
        ([calling("a", "b"), result("a")], 1),
        ([USER, calling("a")], 1),
    ],
)
def test_what_does_not_belong_together_is_refused_by_place(turns, place):
    with pytest.raises(InvalidRequestError) as refusal:
        check_calls(turns, adjacent=True)
    assert refusal.value.param == f"messages[{place}]"
