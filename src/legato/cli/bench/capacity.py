"""`legato bench capacity URL`: the highest rate that an endpoint carries fluidly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from legato.bench.rule import Search
from legato.cli.arguments import expand_dataclasses
from legato.cli.bench.files import HtmlOption, JsonOption, write_files
from legato.cli.bench.options import (
    EndpointOptions,
    ObjectiveOptions,
    PriceOptions,
    WorkloadOptions,
)

if TYPE_CHECKING:
    from legato.bench.capacity import Capacity, Point
    from legato.bench.document import Document


@expand_dataclasses
def bench_capacity(
    url: Annotated[str, typer.Argument(help="http://HOST:PORT, up to /v1.")],
    asking: EndpointOptions,
    stream: WorkloadOptions,
    promise: ObjectiveOptions,
    paying: PriceOptions,
    search: Search,
    json_file: JsonOption = None,
    html: HtmlOption = None,
) -> None:
    """Search the highest rate at which enough requests are fluid.

    The load is open-loop: requests come whether or not earlier ones are answered.
    """
    from legato.bench.report import render_report
    from legato.bench.run import Limits
    from legato.bench.serve import Measurement
    from legato.bench.trial import measure_capacity
    from legato.cli.bench.watch import watched

    objectives = promise.objectives()
    measurement = Measurement(objectives, Limits(), asking.timeout, asking.require_done)
    endpoint = asking.endpoint(url, paying)
    capacity, documents = measure_capacity(
        endpoint, stream.workload, search, measurement, print_trial, watched
    )
    print(describe(capacity))
    found = capacity.to_json()
    write_files(
        {"capacity": found, "runs": documents}, json_file, html, lambda: render_report(documents)
    )
    print(json.dumps(found))


def print_trial(document: Document, point: Point) -> None:
    """A line for each trial."""
    print(
        f"{point.rate:7.2f}/s  fluid {point.fluid} of {point.requests}  in {point.seconds:.0f} s",
        flush=True,
    )


def describe(capacity: Capacity) -> str:
    """The result in words."""
    share, kept, refuted = capacity.share, capacity.kept, capacity.refuted
    if kept is None:
        return f"no rate that was tried keeps {share:.0%} of the requests fluid"
    text = f"capacity: {kept.rate:.2f} requests/s keep {share:.0%} of the requests fluid"
    if not (kept.sure and kept.thorough):
        text += ", as observed and not for sure"
    if refuted is None:
        return f"{text}; no limit was found"
    how = "refuted" if refuted.sure else "not kept, though within the bounds"
    return f"{text}; {refuted.rate:.2f}/s is {how}"
