"""`legato inspect MODEL`: the architecture, the program, and what a token costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated

import typer

from legato.cli.arguments import DEFAULT
from legato.config import EngineConfig, KVDType, Precision
from legato.models.arch import ArchConfig, LayerConfig

DEFAULTS = EngineConfig()


def inspect(
    model: Annotated[
        str, typer.Argument(help="A .gguf file, a folder, or a known name.")
    ] = DEFAULT,
    depth: Annotated[int, typer.Option(min=0, help="Cached tokens before the priced one.")] = 512,
    precision: Annotated[
        Precision, typer.Option(help="Of activations; decides what kv-dtype auto means.")
    ] = DEFAULTS.precision,
    kv_dtype: Annotated[
        KVDType, typer.Option(help="Element type of cached keys and values.")
    ] = DEFAULTS.kv_dtype,
    all_layers: Annotated[bool, typer.Option(help="Print every layer, also equal ones.")] = False,
) -> None:
    """Show a model's architecture, program, and cost of a token."""
    from legato.assemble import build_model_program
    from legato.backends.native.backend import kernel_names
    from legato.cli.progress import resolve_with_progress
    from legato.models.load import load_model
    from legato.program.show import format_program, format_summary

    config = EngineConfig(precision=precision, kv_dtype=kv_dtype)
    loaded = load_model(resolve_with_progress(model))
    program = build_model_program(loaded, config)
    print(format_architecture(loaded.arch))
    for part, name in kernel_names(config).items():
        print(f"{part:22} {name}")
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
