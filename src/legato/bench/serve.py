"""One measurement: an endpoint under a workload, as a document with figures and requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import legato
from legato.bench.client import TIMEOUT_S, Client
from legato.bench.endpoint import Endpoint
from legato.bench.figures import figures_of
from legato.bench.load import Limits, Load, Run
from legato.bench.objectives import Objectives
from legato.bench.workload import Workload
from legato.metrics.price import Price

Watch = Callable[[Load, str], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Measurement:
    """How to measure: what was promised, what it costs, when to stop, how long to wait."""

    objectives: Objectives
    price: Price | None
    limits: Limits
    timeout_s: float = TIMEOUT_S


def unwatched(load: Load, title: str) -> AbstractAsyncContextManager[None]:
    """Nobody looks on."""
    return nullcontext()


def measure(
    endpoint: Endpoint,
    workload: Workload,
    rate: float,
    measurement: Measurement,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Run a load; Ctrl-C ends it early, with what there is by then.

    Returns a document: `endpoint`, `model`, `rate`, `workload`, `objectives`, `figures`, and
    `requests` with a record of each.
    """
    run = asyncio.run(drive(endpoint, workload, measurement, watch, f"{endpoint.url} {rate:g}/s"))
    return {
        "tool": f"legato {legato.__version__}",
        "endpoint": endpoint.url,
        "model": endpoint.model,
        "rate": rate,
        "workload": describe_workload(workload),
        "objectives": asdict(measurement.objectives),
        "figures": figures_of(run, measurement.objectives, measurement.price),
        "requests": [outcome.to_json(run.origin_ns) for outcome in run.outcomes],
    }


def describe_workload(workload: Workload) -> dict[str, str]:
    """Every field in words; a long list of lengths or times by its beginning."""
    return {name: repr(getattr(workload, name))[:200] for name in workload.__dataclass_fields__}


async def drive(
    endpoint: Endpoint, workload: Workload, measurement: Measurement, watch: Watch, title: str
) -> Run:
    """The load itself."""
    client = Client(endpoint, timeout_s=measurement.timeout_s)
    load = Load(client, workload, measurement.limits)
    try:
        async with watch(load, title):
            return await load.drive()
    finally:
        client.close()
