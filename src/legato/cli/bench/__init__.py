"""`legato bench …`: measurements, one file a subcommand. JSON is the last line of stdout."""

from __future__ import annotations

import typer

from legato.cli.bench import (
    adaptive,
    capacity,
    compare,
    cost,
    engine,
    fidelity,
    prefill,
    prefix,
    replay,
    report,
    serve,
    simulate,
    speculate,
)

app = typer.Typer(help="Measure an engine here, or any endpoint.", no_args_is_help=True)
app.command("engine")(engine.bench_engine)
app.command("fidelity")(fidelity.bench_fidelity)
app.command("cost")(cost.bench_cost)
app.command("simulate")(simulate.bench_simulate)
app.command("serve")(serve.bench_serve)
app.command("capacity")(capacity.bench_capacity)
app.command("prefill")(prefill.bench_prefill)
app.command("prefix")(prefix.bench_prefix)
app.command("speculate")(speculate.bench_speculate)
app.command("adaptive")(adaptive.bench_adaptive)
app.command("report")(report.bench_report)
app.command("compare")(compare.bench_compare)
app.command("replay")(replay.bench_replay)
