"""`legato bench capacity URL`: the highest rate that an endpoint carries fluidly."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from legato.cli.arguments import expand_dataclasses
from legato.cli.bench.options import (
    EndpointOptions,
    ObjectiveOptions,
    PriceOptions,
    WorkloadOptions,
)
from legato.cli.bench.serve import HtmlOption, JsonOption


@expand_dataclasses
def bench_capacity(
    url: Annotated[str, typer.Argument(help="http://HOST:PORT, up to /v1.")],
    asking: EndpointOptions,
    stream: WorkloadOptions,
    promise: ObjectiveOptions,
    paying: PriceOptions,
    start: Annotated[float, typer.Option(min=0.001, help="First rate, requests/s.")] = 1.0,
    highest: Annotated[float, typer.Option(min=0.001, help="Highest rate.")] = 1000.0,
    precision: Annotated[float, typer.Option(help="Know the rate within this factor.")] = 1.1,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds of one trial.")] = 30.0,
    trials: Annotated[int, typer.Option(min=1, help="Most trials at one rate.")] = 3,
    confidence: Annotated[float, typer.Option(help="Of the bounds of a share.")] = 0.95,
    json_file: JsonOption = None,
    html: HtmlOption = None,
) -> None:
    """Search the highest open-loop rate at which enough requests are fluid; print the curve."""
    from legato.bench.capacity import Search, find_capacity
    from legato.bench.load import Limits
    from legato.bench.report import render_report
    from legato.bench.serve import Measurement, measure
    from legato.cli.bench.watch import watched

    endpoint = asking.endpoint(url)
    objectives = promise.objectives()
    measurement = Measurement(
        objectives,
        paying.price(),
        Limits(duration_s=duration),
        asking.timeout,
        asking.require_done,
    )
    search = Search(
        start=start,
        highest=highest,
        precision=precision,
        max_trials=trials,
        share=objectives.share,
        confidence=confidence,
    )
    documents: list[dict[str, Any]] = []

    def trial(rate: float, number: int) -> tuple[int, int] | None:
        workload = stream.workload(rate, trial=len(documents))
        (document,) = measure([endpoint], workload, rate, measurement, watched)
        documents.append(document)
        figures = document["figures"]
        if figures["interrupted"]:
            return None
        print(f"{rate:7.2f}/s  fluid {figures['fluid_requests']} of {figures['requests']}")
        return figures["fluid_requests"], figures["requests"]

    capacity = find_capacity(search, trial)
    print(describe(capacity.to_json()))
    if json_file is not None:
        json_file.write_text(json.dumps({"capacity": capacity.to_json(), "runs": documents}))
    if html is not None:
        html.write_text(render_report(documents), encoding="utf-8")
    print(json.dumps(capacity.to_json()))


def describe(capacity: dict[str, Any]) -> str:
    """The result in words."""
    share = capacity["search"]["share"]
    if capacity["rate"] is None:
        return f"no rate that was tried keeps {share:.0%} of the requests fluid"
    text = f"capacity: {capacity['rate']:.2f} requests/s keep {share:.0%} of the requests fluid"
    if capacity["refuted"] is None:
        return f"{text}; no limit was found"
    how = "refuted" if capacity["refuted_for_sure"] else "not kept, though within the bounds"
    return f"{text}; {capacity['refuted']:.2f}/s is {how}"
