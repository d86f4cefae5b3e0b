import json

import pytest

from legato.metrics.fluidity import Deadlines
from legato.metrics.report import summarize
from legato.metrics.timeline import Timeline

SECOND = 1_000_000_000


def promise(timeline: Timeline) -> Deadlines:
    return Deadlines(prefill_ns=SECOND, decode_ns=SECOND)


def test_summary_of_two_requests_and_their_failures():
    fast = Timeline(0, [SECOND, 2 * SECOND], prompt_tokens=3)
    slow = Timeline(0, [4 * SECOND], prompt_tokens=4)
    silent = Timeline(0, [])
    report = summarize([fast, slow, silent], window_ns=10 * SECOND, failed=1, deadlines=promise)
    assert (report.requests, report.failed) == (4, 2)
    assert (report.input_tokens, report.output_tokens) == (7, 3)
    assert report.requests_per_s == pytest.approx(0.2)
    assert report.output_tokens_per_s == pytest.approx(0.3)
    assert report.ttft_s is not None
    assert report.ttft_s.max == 4.0
    assert report.tbt_s is not None
    assert report.tbt_s.count == 1
    assert report.tpot_s is not None
    assert report.tpot_s.count == 1
    assert report.on_time_fraction == pytest.approx(2 / 3)
    assert report.fluid_fraction == pytest.approx(1 / 4)


def test_a_report_is_json():
    report = summarize([Timeline(0, [SECOND])], window_ns=SECOND)
    document = json.loads(json.dumps(report.to_json()))
    assert document["ttft_s"]["p50"] == 1.0
    assert document["fluidity_index"] is None


def test_a_window_without_length_is_refused():
    with pytest.raises(ValueError, match="positive length"):
        summarize([], window_ns=0)
