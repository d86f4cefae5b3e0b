"""`legato bench compare A B`: whether a difference between two measurements is one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from legato.cli.arguments import expand_dataclasses
from legato.cli.bench.options import ObjectiveOptions
from legato.errors import LegatoError


@expand_dataclasses
def bench_compare(
    first: Annotated[Path, typer.Argument(help="File of `legato bench serve --json`.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    promise: ObjectiveOptions,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
) -> None:
    """Tell whether the runs of two files differ.

    They are compared pair by pair and held to the same objectives.
    """
    from legato.bench.compare import compare
    from legato.bench.document import measured, read_runs

    objectives = promise.objectives()
    result = []
    runs = read_runs(first), read_runs(second)
    if len(runs[0]) != len(runs[1]):
        counts = " and ".join(str(len(side)) for side in runs)
        raise LegatoError(f"{first} and {second} hold {counts} runs; compare files of equally many")
    for a, b in zip(*runs, strict=True):
        differences = compare(measured(a), measured(b), objectives, confidence=confidence)
        print_differences(f"{_name(a)} → {_name(b)}", differences)
        result.append({"rates": [a["rate"], b["rate"]], **_as_json(differences)})
    print(json.dumps(result))


def _as_json(differences: list[Any]) -> dict[str, Any]:
    return {"differences": [difference.to_json() for difference in differences]}


def _name(run: dict[str, Any]) -> str:
    return f"{run.get('name') or run['endpoint']} @ {run['rate']:g}/s"


def print_differences(title: str, differences: list[Any]) -> None:
    """A table for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "first", "second", "difference", "verdict", title=title)
    for d in differences:
        interval = f"{d.second - d.first:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
        table.add_row(d.figure, f"{d.first:.4f}", f"{d.second:.4f}", interval, d.verdict)
    Console().print(table)
