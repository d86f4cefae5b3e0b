"""Files that a measurement leaves where it is asked for them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

JsonOption = Annotated[Path | None, typer.Option("--json", help="Write everything here.")]
HtmlOption = Annotated[Path | None, typer.Option("--html", help="Write a report with plots here.")]


def write_files(
    document: Mapping[str, object],
    json_file: Path | None,
    html: Path | None,
    render: Callable[[], str],
) -> None:
    """Write `document` as JSON, and the report that `render` makes of it."""
    if json_file is not None:
        json_file.write_text(json.dumps(document), encoding="utf-8")
    if html is not None:
        html.write_text(render(), encoding="utf-8")
