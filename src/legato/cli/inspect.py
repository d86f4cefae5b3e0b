"""`legato inspect MODEL`: the architecture, the program, and what a token costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated

import typer

from legato.cli.arguments import DEFAULT
from legato.models.arch import ArchConfig, LayerConfig


def inspect(
    model: Annotated[
        str, typer.Argument(help="A .gguf file, a folder, or a known name.")
    ] = DEFAULT,
    depth: Annotated[int, typer.Option(min=0, help="Cached tokens before the priced one.")] = 512,
    all_layers: Annotated[bool, typer.Option(help="Print every layer, also equal ones.")] = False,
) -> None:
    """Show a model's architecture, its program, and the cost of one decoded token."""
    from legato._native import best_simd
    from legato.cli.progress import resolve_with_progress
    from legato.models.load import load_model
    from legato.program.build import build_program
    from legato.program.show import format_program, format_summary

    loaded = load_model(resolve_with_progress(model))
    program = build_program(
        loaded.arch,
        loaded.weights,
        block_size=16,
        kv_dtype="f16",
        max_context=loaded.arch.max_context,
    )
    print(format_architecture(loaded.arch))
    print(f"{'kernels':22} native/{best_simd().name.lower()}")
    print()
    print(format_program(program, depth=depth, all_layers=all_layers))
    print()
    print(format_summary(program, depth=depth))


def format_architecture(arch: ArchConfig) -> str:
    """One `name: value` line per property; layers and rope tables in short."""
    lines = []
    for field in fields(arch):
        value = getattr(arch, field.name)
        lines.append(f"{field.name:22} {value if field.name != 'layers' else _layers(value)}")
    return "\n".join(lines)


def _layers(layers: Sequence[LayerConfig]) -> str:
    windows = Counter(layer.window for layer in layers)
    parts = [
        f"{count} with window {window}" if window else f"{count} with full attention"
        for window, count in windows.items()
    ]
    return f"{len(layers)}: {', '.join(parts)}"
