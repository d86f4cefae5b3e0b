"""`legato run "prompt"`: one answer, streamed to stdout."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses

TemperatureOption = Annotated[float, typer.Option(min=0.0, help="0 is greedy.")]
SeedOption = Annotated[int | None, typer.Option(help="Makes the text reproducible.")]
MaxTokensOption = Annotated[int | None, typer.Option(min=1, help="Longest answer, in tokens.")]


@expand_dataclasses
def run(
    prompt: Annotated[str, typer.Argument(help="The prompt; '-' reads it from stdin.")],
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    raw: Annotated[bool, typer.Option(help="Continue the text as is: no chat template.")] = False,
    temperature: TemperatureOption = 0.0,
    seed: SeedOption = None,
    max_tokens: MaxTokensOption = None,
) -> None:
    """Answer one prompt and exit."""
    from legato.cli.progress import resolve_with_progress
    from legato.core import SamplingParams
    from legato.llm import LLM

    text = sys.stdin.read() if prompt == "-" else prompt
    params = SamplingParams(temperature=temperature, seed=seed, max_tokens=max_tokens)
    with LLM.from_config(resolve_with_progress(model), config) as llm:
        pieces = (
            llm.stream(text, params)
            if raw
            else llm.stream_chat([{"role": "user", "content": text}], params)
        )
        for piece in pieces:
            print(piece, end="", flush=True)
    print()
