"""What sharing a prompt saves: the samples of one question beside as many separate requests.

    python benchmarks/siblings.py --prompt 500 --samples 16 --output 64 --rounds 3

The separate requests have no prefix cache. Both run in process, in turns; medians.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from statistics import median

from legato.adaptive.controller import AdaptiveCompute
from legato.adaptive.self_consistency import SelfConsistency
from legato.assemble import build_engine
from legato.bench.engine import random_prompts
from legato.clock import RealClock
from legato.completion import SampleText
from legato.config import EngineConfig
from legato.core import Request, SamplingParams
from legato.engine import Engine
from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model
from legato.models.load import load_model
from legato.text.tokenizer import load_tokenizer


def run(engine: Engine, requests: list[Request]) -> tuple[float, int]:
    """Seconds until all `requests` are answered, and the most KV blocks in use."""
    clock, peak = RealClock(), 0
    start = clock.now_ns()
    for request in requests:
        engine.add(request)
    while engine.has_work:
        engine.step()
        peak = max(peak, engine.stats().used_blocks)
    return (clock.now_ns() - start) / 1e9, peak


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--prompt", type=int, default=500)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    """Measure and print one JSON document."""
    options = parse_arguments()
    model = load_model(resolve_model(options.model))
    tokenizer = load_tokenizer(model.tokenizer)
    config = EngineConfig(prefix_cache=False, scheduling="throughput")
    engine = build_engine(model, config, RealClock(), tokenizer)
    params = SamplingParams(max_tokens=options.output, ignore_eos=True, temperature=0.8)
    compute = AdaptiveCompute(
        strategy=SelfConsistency(options.samples),
        new_text=lambda: SampleText(tokenizer, params),
    )
    shared: list[tuple[float, int]] = []
    separate: list[tuple[float, int]] = []
    for number in range(options.rounds + 1):  # the first warms up
        (prompt,) = random_prompts(1, options.prompt, engine.vocab_size, seed=number)
        first = Request(id="shared", prompt=tuple(prompt), params=replace(params, seed=number))
        alone = [
            replace(first, id=f"separate-{i}", params=replace(params, seed=number + i))
            for i in range(options.samples)
        ]
        shared.append(run(engine, [replace(first, compute=compute)]))
        separate.append(run(engine, alone))
    engine.close()
    shared_s, separate_s = (median(t for t, _ in runs[1:]) for runs in (shared, separate))
    document = {
        **vars(options),
        "shared_s": shared_s,
        "separate_s": separate_s,
        "share_of_time": shared_s / separate_s,
        "shared_blocks": max(blocks for _, blocks in shared),
        "separate_blocks": max(blocks for _, blocks in separate),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
