import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from legato.metrics import latency
from legato.metrics.latency import Distribution, percentile
from legato.metrics.timeline import Timeline


def timeline_of(*stamps: int, arrival: int = 100) -> Timeline:
    timeline = Timeline(arrival_ns=arrival)
    for time_ns in stamps:
        timeline.stamp(time_ns)
    return timeline


def test_latency_of_a_hand_worked_request():
    timeline = timeline_of(350, 400, 460, 500)
    assert latency.ttft_ns(timeline) == 250
    assert latency.tbt_ns(timeline) == [50, 60, 40]
    assert latency.tpot_ns(timeline) == 50
    assert latency.total_ns(timeline) == 400
    assert latency.normalized_latency_ns(timeline) == 100


def test_tokens_delivered_at_once_share_a_stamp_and_count_each():
    timeline = Timeline(arrival_ns=0)
    timeline.stamp(10, tokens=3)
    timeline.stamp(40)
    assert timeline.output_tokens == 4
    assert timeline.gaps_ns() == [10, 0, 0, 30]


def test_tpot_of_a_single_token_is_undefined():
    assert latency.tpot_ns(timeline_of(120)) is None


@pytest.mark.parametrize(
    "measure", [latency.ttft_ns, latency.tpot_ns, latency.total_ns, latency.normalized_latency_ns]
)
def test_a_request_without_tokens_has_no_latency(measure):
    with pytest.raises(ValueError, match="without output tokens"):
        measure(Timeline(arrival_ns=0))


def test_time_cannot_go_back():
    timeline = timeline_of(200)
    with pytest.raises(ValueError, match="precede"):
        timeline.stamp(199)


@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50),
    st.floats(0, 100),
)
def test_percentile_is_linear_between_order_statistics(values: list[float], percent: float):
    expected = np.percentile(values, percent, method="linear")
    assert percentile(values, percent) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_percentile_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize("percent", [-1, 101, float("nan")])
def test_percentile_outside_the_range_is_refused(percent: float):
    with pytest.raises(ValueError, match="percent must be"):
        percentile([1.0], percent)


def test_a_distribution_says_of_how_many_values():
    summary = Distribution.of([4.0, 1.0, 3.0, 2.0])
    assert summary is not None
    assert (summary.count, summary.mean, summary.p50, summary.max) == (4, 2.5, 2.5, 4.0)
    assert Distribution.of([]) is None
