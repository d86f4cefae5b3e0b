"""One measurement: an endpoint under a workload, as a document with figures and requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import legato
from legato.bench.client import TIMEOUT_S, Client
from legato.bench.endpoint import Endpoint
from legato.bench.figures import figures_of
from legato.bench.judge import Judge
from legato.bench.load import Load
from legato.bench.objectives import Objectives
from legato.bench.rule import Rule
from legato.bench.run import Limits, Run
from legato.bench.workload import Workload

Watched = Sequence[tuple[str, Load]]  # loads that run, with a title each
WorkloadOf = Callable[[float, int], Workload]  # of a rate, and a number that makes it new
Watch = Callable[[Watched], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Measurement:
    """How to measure.

    Attributes:
        objectives: what was promised.
        limits: when to stop.
        timeout_s: how long to wait for an answer.
        needs_done: whether an answer without [DONE] has failed.
        rule: ends a run as soon as it is known whether its rate is kept.
    """

    objectives: Objectives
    limits: Limits
    timeout_s: float = TIMEOUT_S
    needs_done: bool = True
    rule: Rule | None = None


def unwatched(loads: Watched) -> AbstractAsyncContextManager[None]:
    """Nobody looks on."""
    return nullcontext()


def measure(
    endpoints: Sequence[Endpoint],
    workload: Workload,
    rate: float,
    measurement: Measurement,
    watch: Watch = unwatched,
) -> list[dict[str, Any]]:
    """Put the same load on all endpoints at once; Ctrl-C ends it early, with what there is by then.

    Returns a document for each: `endpoint`, `name`, `model`, `rate`, `workload`, `objectives`,
    `figures`, and `requests` with a record of each.
    """
    runs = asyncio.run(drive(endpoints, workload, rate, measurement, watch))
    return [
        {
            "tool": f"legato {legato.__version__}",
            "endpoint": endpoint.url,
            "name": endpoint.name,
            "model": endpoint.model,
            "rate": rate,
            "workload": describe_workload(workload),
            "objectives": asdict(measurement.objectives),
            "figures": figures_of(run, measurement.objectives, endpoint.price),
            "requests": [outcome.to_json(run.origin_ns) for outcome in run.outcomes],
        }
        for endpoint, run in zip(endpoints, runs, strict=True)
    ]


def measure_in_turn(
    groups: Sequence[Sequence[Endpoint]],
    rates: Sequence[float],
    workload_of: WorkloadOf,
    measurement: Measurement,
    watch: Watch = unwatched,
) -> list[dict[str, Any]]:
    """Every rate on every group of endpoints, one after the other, until somebody interrupts."""
    documents: list[dict[str, Any]] = []
    for group in groups:
        for number, rate in enumerate(rates):
            documents += measure(group, workload_of(rate, number), rate, measurement, watch)
            if documents[-1]["figures"]["interrupted"]:
                return documents
    return documents


def describe_workload(workload: Workload) -> dict[str, str]:
    """Every field in words; a long list of lengths or times by its beginning."""
    return {name: repr(getattr(workload, name))[:200] for name in workload.__dataclass_fields__}


async def drive(
    endpoints: Sequence[Endpoint],
    workload: Workload,
    rate: float,
    measurement: Measurement,
    watch: Watch = unwatched,
) -> list[Run]:
    """The loads themselves."""
    clients = [
        Client(each, timeout_s=measurement.timeout_s, needs_done=measurement.needs_done)
        for each in endpoints
    ]
    loads = [Load(client, workload, measurement.limits) for client in clients]
    titles = [f"{endpoint.name or endpoint.url} {rate:g}/s" for endpoint in endpoints]
    try:
        async with watch(list(zip(titles, loads, strict=True))):
            runs = await _drive_all(loads, measurement)
    finally:
        for client in clients:
            client.close()
    share_client_cost(runs)
    return runs


async def _drive_all(loads: Sequence[Load], measurement: Measurement) -> list[Run]:
    """A cancellation ends every load early, each with a report."""
    tasks = [asyncio.create_task(load.drive()) for load in loads]
    judges = [asyncio.create_task(judge) for judge in _judging(loads, measurement)]
    try:
        await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for judge in judges:
        judge.cancel()
    return [task.result() for task in tasks]


def _judging(
    loads: Sequence[Load], measurement: Measurement
) -> Iterator[Coroutine[None, None, None]]:
    if measurement.rule is not None:
        for load in loads:
            judge = Judge(measurement.rule, measurement.objectives, load.clock)
            yield judge.watch(load)


def share_client_cost(runs: Sequence[Run]) -> None:
    """CPU time is of the process, which serves all runs: each token costs the same. Where every
    request was refused or broken off there is nothing to share."""
    tokens = [sum(o.timeline.output_tokens for o in run.outcomes) for run in runs]
    if not any(tokens):
        return
    for run, own in zip(runs, tokens, strict=True):
        if run.cost is not None and run.cost.cpu_us_per_token is not None:
            per_token = run.cost.cpu_us_per_token * own / sum(tokens)
            run.cost = replace(run.cost, cpu_us_per_token=per_token)
