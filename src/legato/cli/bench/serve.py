"""`legato bench serve URL…`: latency, fluidity and throughput of endpoints under load."""

from __future__ import annotations

from typing import Annotated

import typer

from legato.cli.arguments import expand_dataclasses
from legato.cli.bench.files import HtmlOption, JsonOption
from legato.cli.bench.options import (
    EndpointOptions,
    ObjectiveOptions,
    PriceOptions,
    WorkloadOptions,
)

UrlsArgument = Annotated[list[str], typer.Argument(help="http://HOST:PORT, up to /v1.")]


@expand_dataclasses
def bench_serve(
    urls: UrlsArgument,
    asking: EndpointOptions,
    stream: WorkloadOptions,
    promise: ObjectiveOptions,
    paying: PriceOptions,
    rate: Annotated[str, typer.Option(help="Requests/s; several as 1,2,4.")] = "1",
    duration: Annotated[float, typer.Option(help="Seconds of arrivals; 0: no limit.")] = 60.0,
    requests: Annotated[int, typer.Option(min=0, help="Conversations; 0: no limit.")] = 0,
    warmup: Annotated[float, typer.Option(min=0, help="First seconds, not measured.")] = 0.0,
    together: Annotated[bool, typer.Option("--together", help="All endpoints at once.")] = False,
    json_file: JsonOption = None,
    html: HtmlOption = None,
) -> None:
    """Put a stream of requests on each endpoint and report.

    Endpoints take their turns, so that those on one machine do not disturb each other; with
    --together all get the same stream at the same time.
    """
    from legato.bench.run import FOREVER, Limits
    from legato.bench.serve import Measurement, measure_in_turn
    from legato.cli.bench.output import parse_numbers, publish
    from legato.cli.bench.watch import watched

    limits = Limits(
        duration_s=duration or FOREVER, conversations=requests or FOREVER, warmup_s=warmup
    )
    measurement = Measurement(
        promise.objectives(), paying.price(), limits, asking.timeout, asking.require_done
    )
    rates = parse_numbers(rate, "--rate")
    endpoints = [asking.endpoint(url) for url in urls]
    groups = [endpoints] if together else [[endpoint] for endpoint in endpoints]
    documents = measure_in_turn(groups, rates, stream.workload, measurement, watched)
    publish(documents, json_file, html)
