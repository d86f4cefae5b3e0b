"""`legato bench fidelity`: how close to fp32 arithmetic."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Annotated

import typer

from legato.cli.arguments import DEFAULT, ModelOption, OfflineConfig, expand_dataclasses


@expand_dataclasses
def bench_fidelity(
    config: OfflineConfig,
    model: ModelOption = DEFAULT,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON document.")] = False,
) -> None:
    """Measure what rounded arithmetic costs in quality.

    KL divergence to fp32 arithmetic, perplexity and top-1 agreement on 2,000 tokens of prose.
    """
    from legato.bench.fidelity import measure_fidelity, prose_texts
    from legato.cli.progress import resolve_with_progress
    from legato.llm import LLM

    path = resolve_with_progress(model)
    exact = replace(config, backend="reference", kv_dtype="f32")
    with LLM.from_config(path, config) as measured, LLM.from_config(path, exact) as reference:
        texts = [measured.tokenizer.encode(text) for text in prose_texts()]
        fidelity = measure_fidelity(measured, reference, texts)
    for name, value in fidelity.to_json().items():
        print(f"{name:22} {value:.6g}")
    if as_json:
        print(json.dumps({"model": path.name, "config": asdict(config), **fidelity.to_json()}))
