"""`legato bench prefill URL`: the unloaded prefill profile of an endpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from legato.cli.arguments import expand_dataclasses
from legato.cli.bench.options import EndpointOptions


@expand_dataclasses
def bench_prefill(
    url: Annotated[str, typer.Argument(help="http://HOST:PORT, up to /v1.")],
    asking: EndpointOptions,
    words: Annotated[str, typer.Option(help="Prompt lengths.")] = "16,64,128,256,512,1024",
    repeats: Annotated[int, typer.Option(min=1, help="Requests of each length.")] = 3,
    seed: Annotated[int, typer.Option(help="Makes the prompts reproducible.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Save the profile.")] = None,
) -> None:
    """Measure the time to first token by length of the prompt.

    Fits a + b·P + c·P² seconds to single requests with P prompt tokens.
    """
    from legato.bench.client import Client
    from legato.bench.profile import run_profile
    from legato.cli.bench.output import parse_numbers

    lengths = [int(length) for length in parse_numbers(words, "--words")]
    client = Client(asking.endpoint(url), timeout_s=asking.timeout)
    profiled = run_profile(client, lengths, repeats, seed)
    fitted = profiled.profile
    for sample in profiled.samples:
        predicted = fitted.seconds(sample.prompt_tokens)
        print(
            f"{sample.prompt_tokens:6} tokens  {sample.seconds * 1e3:9.1f} ms"
            f"  fitted {predicted * 1e3:9.1f} ms"
        )
    print(f"seconds = {fitted.a:.3g} + {fitted.b:.3g}·P + {fitted.c:.3g}·P²")
    document = json.dumps({"url": url, **profiled.to_json()})
    if json_file is not None:
        json_file.write_text(document)
    print(document)
