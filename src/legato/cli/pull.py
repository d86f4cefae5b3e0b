"""`legato pull NAME`: fetch a model and print where it lies."""

from __future__ import annotations

from typing import Annotated

import typer

from legato.models.catalogue import CATALOGUE


def pull(
    name: Annotated[
        str | None, typer.Argument(help="Name of the model; without it, the names are listed.")
    ] = None,
) -> None:
    """Fetch a model by name, check its hash, and print the path."""
    if name is None:
        for entry in CATALOGUE.values():
            print(f"{entry.name:24} {entry.size / 1e6:6.0f} MB  {entry.licence}")
        return
    from legato.cli.progress import resolve_with_progress

    print(resolve_with_progress(name))
