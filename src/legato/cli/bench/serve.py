"""`legato bench serve URL…`: latency, fluidity and throughput of endpoints under load."""

from __future__ import annotations

from pathlib import Path
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

UrlsArgument = Annotated[
    list[str] | None, typer.Argument(help="http://HOST:PORT, up to /v1.", show_default=False)
]
EndpointsOption = Annotated[
    Path | None,
    typer.Option(help="TOML: a table for each endpoint with its url, model, key and prices."),
]


@expand_dataclasses
def bench_serve(
    asking: EndpointOptions,
    stream: WorkloadOptions,
    promise: ObjectiveOptions,
    paying: PriceOptions,
    urls: UrlsArgument = None,
    endpoints: EndpointsOption = None,
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
    from legato.cli.bench.endpoints import chosen_endpoints
    from legato.cli.bench.output import parse_numbers, publish
    from legato.cli.bench.watch import watched

    limits = Limits(
        duration_s=duration or FOREVER, conversations=requests or FOREVER, warmup_s=warmup
    )
    measurement = Measurement(promise.objectives(), limits, asking.timeout, asking.require_done)
    rates = parse_numbers(rate, "--rate")
    chosen = chosen_endpoints(urls or [], endpoints, asking, paying)
    groups = [chosen] if together else [[endpoint] for endpoint in chosen]
    documents = measure_in_turn(groups, rates, stream.workload, measurement, watched)
    publish(documents, json_file, html)
