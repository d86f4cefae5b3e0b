"""Ten times more requests than the server can answer, for minutes: what is still on time?

    python benchmarks/overload.py [--duration 300] [--times 10] [--probe 20] [--model MODEL]

A server process with default settings on a real model, and an open-loop client that shares the
machine with it. First the capacity: the rate at which a crowd of users in a closed loop is
answered. Then the goodput around it, its best being the peak; then `--times` the capacity for
`--duration` seconds; then around the capacity again. Goodput is requests a second whose first token
and whose times between tokens keep the objectives that each request carries (`legato.slo`). The
server's resident memory is read once a second. The last line on stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from legato.bench.arrivals import Users, poisson
from legato.bench.client import Client
from legato.bench.endpoint import Endpoint
from legato.bench.lengths import Fixed, Lognormal
from legato.bench.load import Load
from legato.bench.objectives import Objectives
from legato.bench.outcome import FailureKind, Outcome
from legato.bench.own_server import running_server
from legato.bench.run import Limits, Run
from legato.bench.workload import Workload
from legato.models.catalogue import DEFAULT_MODEL

OBJECTIVES = Objectives(ttft_s=2.0, tbt_s=0.15)
SLO = {"ttft_ms": OBJECTIVES.ttft_s * 1e3, "tbt_ms": OBJECTIVES.tbt_s * 1e3}
AROUND = (0.8, 1.2)
CROWD = 48
KV_MEMORY = 512 << 20
"""Bytes of the server's pool, whose pages become resident when they are first used. A small one is
used up before the overload begins, so that memory that still grows then is something else."""

MIB = 1024.0
NS = 1e9


@dataclass
class Phase:
    """One rate, held for a while. Times in seconds, memory in MiB."""

    name: str
    rate: float
    requests: int
    goodput_per_s: float
    on_time: int
    late: int
    refused: int
    failed: int
    refusal_p99_s: float | None
    ttft_p99_s: float | None
    rss_mib: list[float] = field(repr=False)

    @property
    def line(self) -> str:
        """For people."""
        rss = f"{self.rss_mib[0]:.0f} to {self.rss_mib[-1]:.0f}" if self.rss_mib else "?"
        return (
            f"{self.name:10} {self.rate:7.2f}/s  goodput {self.goodput_per_s:6.2f}/s  "
            f"on time {self.on_time}, late {self.late}, refused {self.refused}, failed "
            f"{self.failed}  refusal p99 {_shown(self.refusal_p99_s)}  "
            f"TTFT p99 {_shown(self.ttft_p99_s)}  RSS {rss} MiB"
        )


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.3f} s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--duration", type=float, default=300.0, help="seconds of overload")
    parser.add_argument("--times", type=float, default=10.0, help="of the capacity")
    parser.add_argument("--probe", type=float, default=20.0, help="seconds of every other phase")
    parser.add_argument("--prompt-words", type=float, default=200.0)
    parser.add_argument("--output-tokens", type=int, default=64)
    arguments = parser.parse_args()
    with running_server(arguments.model, "--kv-memory", str(KV_MEMORY)) as server:
        phases = asyncio.run(measure(arguments, server.pid, server.url))
    (during,) = [phase for phase in phases if phase.name == "overload"]
    peak = max(phase.goodput_per_s for phase in phases if phase.name != "overload")
    document = {
        "times": arguments.times,
        "objectives_s": {"ttft": OBJECTIVES.ttft_s, "tbt": OBJECTIVES.tbt_s},
        "peak_goodput_per_s": peak,
        "goodput_share": during.goodput_per_s / peak if peak else None,
        "rss_growth_mib": growth(during.rss_mib),
        "phases": [asdict(phase) for phase in phases],
    }
    print(json.dumps(document))


async def measure(arguments: argparse.Namespace, pid: int, url: str) -> list[Phase]:
    """All phases, one after the other."""
    extra = {"ignore_eos": True, "legato": {"slo": SLO}}
    client = Client(Endpoint(url=f"{url}/v1", extra=extra))
    workload = Workload(
        prompt_words=Lognormal(arguments.prompt_words, 0.4),
        output_tokens=Fixed(arguments.output_tokens),
    )
    try:
        capacity = await capacity_of(url, workload, arguments.probe)
        print(f"capacity   {capacity:7.2f}/s", flush=True)
        plan = [("before", share * capacity, arguments.probe) for share in AROUND]
        plan += [("overload", arguments.times * capacity, arguments.duration)]
        plan += [("after", AROUND[0] * capacity, arguments.probe)]
        phases = []
        for seed, (name, rate, seconds) in enumerate(plan, 1):
            phases.append(await hold(client, workload, (name, rate, seconds), seed, pid))
            print(phases[-1].line, flush=True)
        return phases
    finally:
        client.close()


async def capacity_of(url: str, workload: Workload, seconds: float) -> float:
    """Answers a second to users who always ask again, and who do not mind when they come."""
    client = Client(Endpoint(url=f"{url}/v1", extra={"ignore_eos": True, "legato": {"slo": {
        "ttft_ms": 600_000, "tbt_ms": 60_000}}}))  # fmt: skip
    crowd = Load(client, _with(workload, 0, 0.0, Users(CROWD)), Limits(duration_s=seconds))
    run = await crowd.drive()
    client.close()
    return sum(outcome.succeeded for outcome in run.outcomes) / (run.window_ns / NS)


def _with(workload: Workload, seed: int, rate: float, users: Users | None = None) -> Workload:
    """`workload` with texts of its own, so that nothing of it is cached."""
    return Workload(
        arrivals=users or poisson(rate),
        prompt_words=workload.prompt_words,
        output_tokens=workload.output_tokens,
        seed=seed,
    )


async def hold(
    client: Client, workload: Workload, plan: tuple[str, float, float], seed: int, pid: int
) -> Phase:
    """One rate for a while."""
    _, rate, seconds = plan
    load = Load(client, _with(workload, seed, rate), Limits(duration_s=seconds))
    async with memory_of(pid) as rss:
        run = await load.drive()
    return phase_of(plan, run, rss)


def phase_of(plan: tuple[str, float, float], run: Run, rss: list[float]) -> Phase:
    """What happened, in figures."""
    name, rate, seconds = plan
    refused = [o for o in run.outcomes if o.failure is FailureKind.OVERLOADED]
    answered = [o for o in run.outcomes if o.succeeded]
    on_time = OBJECTIVES.fluid_requests(answered)
    return Phase(
        name=name,
        rate=rate,
        requests=len(run.outcomes),
        goodput_per_s=on_time / seconds,
        on_time=on_time,
        late=len(answered) - on_time,
        refused=len(refused),
        failed=len(run.outcomes) - len(refused) - len(answered),
        refusal_p99_s=p99([(o.ended_ns - o.sent_ns) / NS for o in refused]),
        ttft_p99_s=p99(list(map(ttft_s, answered))),
        rss_mib=rss,
    )


def ttft_s(outcome: Outcome) -> float:
    """Seconds from the arrival to the first token."""
    return (outcome.timeline.stamps_ns[0] - outcome.timeline.arrival_ns) / NS


def p99(values: list[float]) -> float | None:
    """The 99th percentile; None of nothing."""
    return float(np.percentile(values, 99)) if values else None


def growth(rss_mib: list[float]) -> float | None:
    """How much larger the last tenth is than the first after a tenth to warm up, by medians."""
    tenth = max(1, len(rss_mib) // 10)
    if len(rss_mib) < 3 * tenth:
        return None
    return median(rss_mib[-tenth:]) - median(rss_mib[tenth : 2 * tenth])


@asynccontextmanager
async def memory_of(pid: int) -> AsyncIterator[list[float]]:
    """The resident memory of a process in MiB, once a second, while the context is open."""
    seen: list[float] = []

    async def watch() -> None:
        while True:
            seen.append(resident_mib(pid))
            await asyncio.sleep(1)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def resident_mib(pid: int) -> float:
    """VmRSS of a process on Linux."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(kib) / MIB


if __name__ == "__main__":
    main()
