"""`legato chat`: a conversation in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses
from legato.cli.run import MaxTokensOption, SeedOption, TemperatureOption


@expand_dataclasses
def chat(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    system: Annotated[str | None, typer.Option(help="System message to begin with.")] = None,
    temperature: TemperatureOption = 0.7,
    seed: SeedOption = None,
    max_tokens: MaxTokensOption = None,
) -> None:
    """Talk with a model. An empty line or end of input leaves; /reset starts over."""
    from legato.cli.progress import resolve_with_progress
    from legato.core import SamplingParams
    from legato.llm import LLM

    opening = [{"role": "system", "content": system}] if system else []
    params = SamplingParams(temperature=temperature, seed=seed, max_tokens=max_tokens)
    with LLM.from_config(resolve_with_progress(model), config) as llm:
        messages = list(opening)
        while question := _ask():
            if question == "/reset":
                messages = list(opening)
                continue
            messages.append({"role": "user", "content": question})
            answer = ""
            for piece in llm.stream_chat(messages, params):
                print(piece, end="", flush=True)
                answer += piece
            print()
            messages.append({"role": "assistant", "content": answer})


def _ask() -> str:
    try:
        return input("> ").strip()
    except EOFError:
        return ""
