"""`legato bench serve URL…`: latency, fluidity and throughput of endpoints under load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from legato.cli.arguments import expand_dataclasses
from legato.cli.bench.options import (
    EndpointOptions,
    ObjectiveOptions,
    PriceOptions,
    WorkloadOptions,
)

UrlsArgument = Annotated[list[str], typer.Argument(help="http://HOST:PORT, up to /v1.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write everything here.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write a report with plots here.")]


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
    json_file: JsonOption = None,
    html: HtmlOption = None,
) -> None:
    """Put a stream of requests on each endpoint, one after the other, and report."""
    from legato.bench.load import FOREVER, Limits
    from legato.bench.serve import Measurement, measure
    from legato.cli.bench.output import parse_numbers, publish
    from legato.cli.bench.watch import watched

    limits = Limits(
        duration_s=duration or FOREVER, conversations=requests or FOREVER, warmup_s=warmup
    )
    measurement = Measurement(promise.objectives(), paying.price(), limits, asking.timeout)
    rates = parse_numbers(rate, "--rate")
    documents = []
    for url in urls:
        endpoint = asking.endpoint(url)
        for number, each in enumerate(rates):
            workload = stream.workload(each, trial=number)
            document = measure(endpoint, workload, each, measurement, watched)
            documents.append(document)
            if document["figures"]["interrupted"]:
                break
    publish(documents, json_file, html)
