"""`legato plan speculate`: which draft depth would pay on which machine, and how much."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from legato.config import KVElement

if TYPE_CHECKING:
    from legato.plan.speculate import SpeculationPlan
    from legato.tensor import WeightFormat

MATRICES = ("bf16", "q8_0", "q4_1")


def plan_speculate(
    target: Annotated[
        str, typer.Option(help="A known architecture, a config.json, or its folder.")
    ] = "llama-2-70b",
    draft: Annotated[str, typer.Option(help="Likewise, of the draft model.")] = "llama-2-7b",
    hardware: Annotated[
        list[str] | None, typer.Option(help="Of the known machines; several values; all if none.")
    ] = None,
    acceptance: Annotated[
        list[float],
        typer.Option(min=0.0, max=1.0, help="Share of drafted tokens that are right; several."),
    ] = [0.6, 0.7, 0.8],  # noqa: B006 - the parser copies it
    batch: Annotated[int, typer.Option(min=1, help="Sequences that decode.")] = 1,
    context: Annotated[int, typer.Option(min=0, help="Cached tokens of each.")] = 1024,
    weights: Annotated[str, typer.Option(help=f"Format of matrices: {', '.join(MATRICES)}.")] = (
        "bf16"
    ),
    kv_dtype: Annotated[KVElement, typer.Option(help="Of keys and values.")] = "bf16",
    max_depth: Annotated[int, typer.Option(min=0, max=64, help="Most drafted tokens.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document alone.")] = False,
) -> None:
    """Predict what drafts of a smaller model would give.

    The best number of drafted tokens, its gain and the memory, from data sheets.
    """
    from legato.plan.architectures import hollow_program
    from legato.plan.hardware import HARDWARE, find_hardware
    from legato.plan.speculate import Load, plan_speculation

    kind = _format_of(weights)
    large, small = (hollow_program(name, kind, kv_dtype) for name in (target, draft))
    load = Load(batch=batch, context=context)
    machines = [find_hardware(name) for name in hardware or HARDWARE]
    plans = [
        plan_speculation(large, small, machine, rate, load, range(max_depth + 1))
        for machine in machines
        for rate in acceptance
    ]
    if as_json:
        sources = {machine.name: machine.to_json() for machine in machines}
        print(json.dumps({"hardware": sources, "plans": [plan.to_json() for plan in plans]}))
    else:
        print(f"{draft} drafts for {target}, {batch} × {context} tokens, {weights}")
        print_plans(plans)


def _format_of(matrices: str) -> WeightFormat:
    from legato.tensor import WeightFormat

    if matrices not in MATRICES:
        raise typer.BadParameter(f"weights are {', '.join(MATRICES)}, not {matrices!r}")
    return next(kind for kind in WeightFormat if kind.label == matrices)


def print_plans(plans: list[SpeculationPlan]) -> None:
    """A table for people: a line for each machine and acceptance."""
    print(
        "machine         acceptance  target    draft     best k  tokens/step  a token   gain"
        "    memory"
    )
    for plan in plans:
        best, needed = plan.best, plan.target_bytes + plan.draft_bytes + plan.kv_bytes
        print(
            f"{plan.hardware:15} {plan.acceptance:10.2f} {plan.target_ms:7.1f} ms"
            f" {plan.draft_ms:6.1f} ms {best.k:7} {best.tokens:12.2f} {best.token_ms:7.1f} ms"
            f" {best.gain:5.2f} x  {needed / 1e9:4.0f} of {plan.memory / 1e9:.0f} GB"
            f"{'' if plan.fits else ': too much'}"
        )
