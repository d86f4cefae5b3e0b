"""`legato demo`: serve the default model, ask it one question over HTTP, show the timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption
from legato.errors import LegatoError

if TYPE_CHECKING:
    from legato.metrics.timeline import Timeline

QUESTION = "What makes a good bread? Answer in a short paragraph."
TTFT_OBJECTIVE_S = 1.0
TBT_OBJECTIVE_S = 0.05


def demo(
    question: Annotated[str, typer.Argument(help="What to ask.")] = QUESTION,
    model: ModelOption = DEFAULT,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 128,
) -> None:
    """Serve a model, ask it a question, print the timeline."""
    import asyncio

    from legato.bench.client import Client
    from legato.bench.endpoint import Endpoint
    from legato.bench.own_server import running_server
    from legato.cli.progress import resolve_with_progress

    path = resolve_with_progress(model)
    with running_server(str(path)) as server:
        print(f"{server.url}\n> {question}\n")
        asked = Client(Endpoint(url=server.url)).ask(
            [{"role": "user", "content": question}],
            max_tokens,
            on_text=lambda text: print(text, end="", flush=True),
        )
        outcome = asyncio.run(asked)
        print("\n")
    if not outcome.succeeded:
        raise LegatoError(f"the question failed ({outcome.failure}): {outcome.detail}")
    print_timeline(outcome.timeline)


def print_timeline(timeline: Timeline) -> None:
    """The measured timeline as a table."""
    from rich.console import Console
    from rich.table import Table

    from legato.metrics.fluidity import Deadlines
    from legato.metrics.latency import NS_PER_SECOND
    from legato.metrics.report import summarize

    promised = Deadlines(
        int(TTFT_OBJECTIVE_S * NS_PER_SECOND), int(TBT_OBJECTIVE_S * NS_PER_SECOND)
    )
    window = timeline.stamps_ns[-1] - timeline.arrival_ns
    report = summarize([timeline], window_ns=window, deadlines=lambda _: promised)
    assert report.ttft_s is not None
    table = Table(title=f"{report.input_tokens} tokens in, {report.output_tokens} out")
    for heading in ("TTFT", "TBT p50", "TBT p99", "TPOT", "tokens/s", "fluidity-index"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"{report.ttft_s.p50 * 1e3:.1f} ms",
        f"{report.tbt_s.p50 * 1e3:.1f} ms" if report.tbt_s else "-",
        f"{report.tbt_s.p99 * 1e3:.1f} ms" if report.tbt_s else "-",
        f"{report.tpot_s.p50 * 1e3:.1f} ms" if report.tpot_s else "-",
        f"{report.output_tokens_per_s:.0f}",
        f"{report.fluidity_index.p50:.3f}" if report.fluidity_index else "-",
    )
    Console().print(table)
    print(
        f"objectives: TTFT {TTFT_OBJECTIVE_S:g} s, then a token every {TBT_OBJECTIVE_S * 1e3:g} ms"
    )
