"""`legato plan …`: predictions for machines that are not here."""

from __future__ import annotations

import typer

from legato.cli.plan import speculate

app = typer.Typer(no_args_is_help=True)


@app.callback()
def plan() -> None:
    """Predict what other machines would do."""


app.command("speculate")(speculate.plan_speculate)
