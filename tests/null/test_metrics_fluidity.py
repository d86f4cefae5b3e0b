import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.metrics.fluidity import Deadlines, fluidity

MS = 1_000_000
DEADLINES = Deadlines(prefill_ns=100 * MS, decode_ns=25 * MS)
gaps_of_a_request = st.lists(st.integers(0, 400 * MS), min_size=1, max_size=40)


def gaps_with_stall(at: int) -> list[int]:
    """A first token on its deadline, then 100 tokens of 20 ms, one of them late."""
    gaps = [100 * MS] + [20 * MS] * 100
    gaps[at] = 500 * MS
    return gaps


def literal_definition(gaps: list[int], d_p: int, d_d: int) -> tuple[int, int]:
    """The algorithm of METRICS.md, line by line."""
    slack = total = missed = 0
    for i, g in enumerate(gaps):
        d = d_p if i == 0 else d_d
        if g <= d + slack:
            slack += d - g
            total += 1
        else:
            m = (g - slack - d) // d_d + 1
            missed += m
            total += m
            slack = 0
    return missed, total


def test_an_early_stall_misses_a_deadline_per_target_gap():
    score = fluidity(gaps_with_stall(3), DEADLINES)
    assert (score.missed, score.total) == (19, 119)
    assert score.index == pytest.approx(100 / 119)
    assert score.on_time_fraction == pytest.approx(100 / 101)


def test_slack_earned_before_a_late_stall_pays_for_it():
    score = fluidity(gaps_with_stall(98), DEADLINES)
    assert score.index == 1.0
    assert score.on_time_fraction == 1.0


def test_a_late_first_token_is_charged_in_units_of_the_decode_deadline():
    score = fluidity([160 * MS], DEADLINES)
    assert (score.missed, score.total) == (3, 3)


def test_a_token_exactly_at_its_deadline_is_on_time():
    assert fluidity([100 * MS, 25 * MS], DEADLINES).index == 1.0


def test_an_empty_output_is_an_error_and_not_a_perfect_score():
    with pytest.raises(ValueError, match="empty output"):
        fluidity([], DEADLINES)


@pytest.mark.parametrize(("prefill", "decode"), [(-1, 1), (1, 0), (1, -5)])
def test_deadlines_that_cannot_be_are_refused(prefill: int, decode: int):
    with pytest.raises(ValueError, match="positive"):
        Deadlines(prefill, decode)


@given(gaps_of_a_request)
def test_equals_the_definition(gaps: list[int]):
    score = fluidity(gaps, DEADLINES)
    assert (score.missed, score.total) == literal_definition(
        gaps, DEADLINES.prefill_ns, DEADLINES.decode_ns
    )


@given(gaps_of_a_request)
def test_the_index_is_one_exactly_when_no_deadline_was_missed(gaps: list[int]):
    score = fluidity(gaps, DEADLINES)
    assert (score.index == 1.0) == (score.missed == 0) == (score.late_tokens == 0)
    assert 0 <= score.index <= 1


@given(gaps_of_a_request, st.data())
def test_no_delay_of_a_token_raises_the_score(gaps: list[int], data: st.DataObject):
    """Every later token comes as much later, as when the stream stalls before this one."""
    at = data.draw(st.integers(0, len(gaps) - 1))
    delayed = list(gaps)
    delayed[at] += data.draw(st.integers(1, 500 * MS))
    before, after = fluidity(gaps, DEADLINES), fluidity(delayed, DEADLINES)
    assert after.missed >= before.missed
    assert after.index <= before.index
    assert after.on_time_fraction <= before.on_time_fraction


@given(gaps_of_a_request, st.integers(0, 50 * MS), st.integers(0, 50 * MS))
def test_no_looser_deadline_lowers_the_score(gaps: list[int], prefill: int, decode: int):
    looser = Deadlines(DEADLINES.prefill_ns + prefill, DEADLINES.decode_ns + decode)
    assert fluidity(gaps, looser).index >= fluidity(gaps, DEADLINES).index


@pytest.mark.parametrize("late", [0, 1])
def test_one_token_of_ten_late_is_nine_tenths_exactly(late: int):
    gaps = [100 * MS] + [25 * MS] * 9
    gaps[-1] += late
    assert fluidity(gaps, DEADLINES).index == (0.9 if late else 1.0)
