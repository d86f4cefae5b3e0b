"""Many timelines in one summary, ready for JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from legato.metrics import latency
from legato.metrics.fluidity import Deadlines, Fluidity, fluidity
from legato.metrics.latency import NS_PER_SECOND, Distribution
from legato.metrics.timeline import Timeline

FLUID_ENOUGH = 0.9  # a request is fluid when its fluidity-index reaches this


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Latency, fluidity and throughput over a window. Times in seconds, rates per second.

    Failures are counted, never averaged away: `requests` includes them, the distributions cover
    the others, and each distribution states its own count. Goodput is the rate of requests that
    were fluid. None means nothing to measure.
    """

    requests: int
    failed: int
    window_s: float
    input_tokens: int
    output_tokens: int
    requests_per_s: float
    input_tokens_per_s: float
    output_tokens_per_s: float
    seconds_per_token: float | None
    ttft_s: Distribution | None
    tbt_s: Distribution | None
    tpot_s: Distribution | None
    total_s: Distribution | None
    normalized_latency_s: Distribution | None
    fluidity_index: Distribution | None
    on_time_fraction: float | None
    fluid_fraction: float | None
    goodput_per_s: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, numbers and None."""
        return asdict(self)


def summarize(
    timelines: Sequence[Timeline],
    *,
    window_ns: int,
    failed: int = 0,
    deadlines: Callable[[Timeline], Deadlines] | None = None,
    fluid_enough: float = FLUID_ENOUGH,
) -> Report:
    """Summarise what happened in `window_ns`.

    Args:
        timelines: one per request; one without output tokens counts as failed.
        failed: requests that failed without leaving a timeline.
        deadlines: what each request was promised; without it there is no fluidity.
        fluid_enough: the fluidity-index from which a request counts as fluid.
    """
    window_s = _length_s(window_ns)
    done = [timeline for timeline in timelines if timeline.stamps_ns]
    requests = len(timelines) + failed
    input_tokens = sum(timeline.prompt_tokens for timeline in done)
    output_tokens = sum(timeline.output_tokens for timeline in done)
    scores = [fluidity(t.gaps_ns(), deadlines(t)) for t in done] if deadlines else []
    fluid = _fluid(scores, requests, fluid_enough) if deadlines and requests else None
    return Report(
        requests=requests,
        failed=requests - len(done),
        window_s=window_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        requests_per_s=len(done) / window_s,
        input_tokens_per_s=input_tokens / window_s,
        output_tokens_per_s=output_tokens / window_s,
        seconds_per_token=window_s / output_tokens if output_tokens else None,
        **_latencies(done),
        fluidity_index=Distribution.of([score.index for score in scores]),
        on_time_fraction=_on_time(scores),
        fluid_fraction=fluid,
        goodput_per_s=None if fluid is None else fluid * requests / window_s,
    )


def _length_s(window_ns: int) -> float:
    if window_ns <= 0:
        raise ValueError(f"a window has a positive length, not {window_ns} ns")
    return window_ns / NS_PER_SECOND


def _latencies(done: Sequence[Timeline]) -> dict[str, Distribution | None]:
    """The distributions of `Report` that come from timelines alone."""
    tpots = [tpot for timeline in done if (tpot := latency.tpot_ns(timeline)) is not None]
    return {
        "ttft_s": _seconds([latency.ttft_ns(timeline) for timeline in done]),
        "tbt_s": _seconds([gap for timeline in done for gap in latency.tbt_ns(timeline)]),
        "tpot_s": _seconds(tpots),
        "total_s": _seconds([latency.total_ns(timeline) for timeline in done]),
        "normalized_latency_s": _seconds([latency.normalized_latency_ns(t) for t in done]),
    }


def _seconds(values_ns: Sequence[float]) -> Distribution | None:
    return Distribution.of([value / NS_PER_SECOND for value in values_ns])


def _on_time(scores: Sequence[Fluidity]) -> float | None:
    """Share of all tokens that met their deadline."""
    if not scores:
        return None
    return 1 - sum(s.late_tokens for s in scores) / sum(s.tokens for s in scores)


def _fluid(scores: Sequence[Fluidity], requests: int, enough: float) -> float:
    """Share of all requests, failed ones included, that were fluid."""
    return sum(score.index >= enough for score in scores) / requests
