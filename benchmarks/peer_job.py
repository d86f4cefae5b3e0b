"""What the workers of peers.py share: a job as JSON on stdin, figures as one JSON line on stdout.

Imported in each peer's environment: nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

Job = dict[str, Any]
Rates = dict[str, float]
WARM_UP_TOKENS = 8


def read_job() -> Job:
    """model, threads, prompt, output, prompts (token ids), concurrency, options."""
    job: Job = json.load(sys.stdin)
    return job


def run_job(job: Job, version: str, measure: Callable[[list[list[int]], int], Rates]) -> None:
    """Measure every concurrency of `job` after a short run that warms up, and print.

    `measure` takes prompts and output tokens of each; it gives figures by name.
    """
    measure(job["prompts"][:1], WARM_UP_TOKENS)
    results = [
        {"concurrency": count, **measure(job["prompts"][:count], job["output"])}
        for count in job["concurrency"]
    ]
    print(json.dumps({"version": version, "results": results}))
