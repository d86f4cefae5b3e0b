"""A run as figures: latency, fluidity, throughput, cost, failures; ready for JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from legato.bench.objectives import Objectives
from legato.bench.outcome import NS_PER_MS, Outcome
from legato.bench.run import Run
from legato.metrics.confidence import share_interval
from legato.metrics.fluid_rate import fluid_token_rate
from legato.metrics.latency import NS_PER_SECOND, Distribution
from legato.metrics.price import MachinePrice, Price, per_million
from legato.metrics.report import summarize

Figures = dict[str, Any]
MAX_SEND_LAG_MS = 5.0
MAX_CACHED = 0.1


def figures_of(run: Run, objectives: Objectives, price: Price | None = None) -> Figures:
    """Everything that is reported about a run, except the requests one by one."""
    outcomes = run.measured
    window_s = run.window_ns / NS_PER_SECOND
    return {
        **latency_figures(outcomes, run.window_ns, objectives),
        "cached_fraction": cached_fraction(outcomes),
        "warmup_requests": len(run.outcomes) - len(outcomes),
        "interrupted": run.interrupted,
        "cut_off": run.cut_off,
        "sending_s": run.sending_ns / NS_PER_SECOND,
        "cost": _cost(outcomes, window_s, price),
        "machine": _machine(outcomes, window_s, price),
        "client": asdict(run.cost) if run.cost else None,
        "send_lag_ms": _distribution([(o.sent_ns - o.timeline.arrival_ns) for o in outcomes]),
        "server_ttft_difference_ms": _as_json(
            [d for o in outcomes if (d := o.ttft_difference_ms) is not None]
        ),
        "warnings": warnings(run),
    }


def latency_figures(outcomes: Sequence[Outcome], window_ns: int, objectives: Objectives) -> Figures:
    """What `metrics.report` says, with failures by kind, goodput and the fluid token rate."""
    done = [outcome.timeline for outcome in outcomes if outcome.succeeded]
    failed = len(outcomes) - len(done)
    report = summarize(
        done,
        window_ns=window_ns,
        failed=failed,
        deadlines=objectives.deadlines,
        fluid_enough=objectives.fluid,
    )
    fluid = objectives.fluid_requests(outcomes)
    rate = fluid_token_rate(
        done, objectives.prefill_ns, failed=failed, share=objectives.share, index=objectives.fluid
    )
    return {
        **report.to_json(),
        "failures": Counter(str(o.failure) for o in outcomes if o.failure is not None),
        "fluid_requests": fluid,
        "fluid_interval": asdict(share_interval(fluid, len(outcomes))) if outcomes else None,
        "fluid_token_rate": rate,
        "counted_by": Counter(o.counted_by for o in outcomes if o.succeeded),
    }


def _cost(outcomes: Sequence[Outcome], window_s: float, price: Price | None) -> Figures | None:
    """Of the whole window; what failed was paid for too."""
    if price is None:
        return None
    taken = sum(outcome.timeline.prompt_tokens for outcome in outcomes)
    given = sum(outcome.timeline.output_tokens for outcome in outcomes)
    total = price.cost(window_s, taken, given)
    return {
        "total": total,
        "per_million_output_tokens": per_million(total, given),
        "per_million_tokens": per_million(total, taken + given),
        "per_request": total / len(outcomes) if outcomes else None,
    }


def _machine(outcomes: Sequence[Outcome], window_s: float, price: Price | None) -> Figures | None:
    """Machine time that the server attributed to the requests; what is left over was idle."""
    told = [outcome.machine_ns for outcome in outcomes if outcome.machine_ns is not None]
    if not told:
        return None
    seconds = sum(told) / NS_PER_SECOND
    return {
        "requests": len(told),
        "ns": sum(told),
        "seconds": seconds,
        "share": seconds / window_s,
        "cost": price.cost(seconds, 0, 0) if isinstance(price, MachinePrice) else None,
    }


def warnings(run: Run) -> list[str]:
    """Reasons to doubt the figures."""
    found = list(run.cost.warnings()) if run.cost else []
    lag = Distribution.of([(o.sent_ns - o.timeline.arrival_ns) / NS_PER_MS for o in run.measured])
    if lag is not None and lag.p99 > MAX_SEND_LAG_MS:
        found.append(f"requests were sent {lag.p99:.1f} ms late (p99); that counts as latency")
    cached = cached_fraction(run.measured)
    if cached > MAX_CACHED:
        found.append(f"{cached:.0%} of the prompt tokens came from the server's prefix cache")
    guessed = sum(o.succeeded and o.counted_by == "chunks" for o in run.measured)
    if guessed:
        found.append(f"{guessed} answers came without usage: their chunks count as tokens")
    if run.cut_off:
        found.append(
            f"the trial was settled: {run.cut_off} requests under way were dropped, unjudged"
        )
    if run.interrupted:
        found.append("the run was interrupted; requests under way count as failed (unfinished)")
    return found


def cached_fraction(outcomes: Sequence[Outcome]) -> float:
    """Share of the prompt tokens that the server says it reused."""
    tokens = sum(outcome.timeline.prompt_tokens for outcome in outcomes)
    return sum(outcome.cached_tokens for outcome in outcomes) / tokens if tokens else 0.0


def _distribution(durations_ns: Sequence[int]) -> Figures | None:
    return _as_json([duration / NS_PER_MS for duration in durations_ns])


def _as_json(values: Sequence[float]) -> Figures | None:
    distribution = Distribution.of(values)
    return asdict(distribution) if distribution else None
