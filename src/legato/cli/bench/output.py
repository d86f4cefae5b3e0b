"""What a measurement leaves: a table for people, files, and one JSON document as the last line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from legato.bench.document import Document
from legato.bench.table import rows, title_of
from legato.cli.bench.files import write_files
from legato.errors import LegatoError


def parse_numbers(text: str, option: str) -> list[float]:
    """`1,2,4` as numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise LegatoError(f"{option} {text}: give numbers, such as 1,2,4") from error


def publish(documents: Sequence[Document], json_file: Path | None, html: Path | None) -> None:
    """Print and write the runs; the last line leaves out the requests one by one."""
    from legato.bench.report import render_report

    print_table(documents)
    write_files({"runs": documents}, json_file, html, lambda: render_report(documents))
    short = [{k: v for k, v in document.items() if k != "requests"} for document in documents]
    print(json.dumps({"runs": short}))


def print_table(documents: Sequence[Document]) -> None:
    """One column a run, one line a figure."""
    from rich.console import Console
    from rich.table import Table

    if not documents:
        return
    table = Table("", *(title_of(document) for document in documents))
    for name, show in rows():
        table.add_row(name, *(show(document["figures"]) for document in documents))
    console = Console()
    console.print(table)
    for document in documents:
        for warning in document["figures"]["warnings"]:
            console.print(f"note, {title_of(document)}: {warning}", highlight=False)
