"""`legato bench report FILE…`: plots of measurements that were saved."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def bench_report(
    files: Annotated[list[Path], typer.Argument(help="Files of `legato bench serve --json`.")],
    html: Annotated[Path, typer.Option(help="Where the report goes.")] = Path("report.html"),
) -> None:
    """Put the runs of several files in one table and HTML report."""
    from legato.bench.document import read_runs
    from legato.cli.bench.output import publish

    publish([run for file in files for run in read_runs(file)], None, html)
