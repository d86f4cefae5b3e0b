"""Saved measurements: reading them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from legato.bench.outcome import Outcome
from legato.errors import LegatoError

Document = dict[str, Any]


def read_runs(path: Path) -> list[Document]:
    """The runs in a file of `legato bench serve --json` or `legato bench capacity --json`."""
    try:
        runs: list[Document] = json.loads(path.read_text())["runs"]
        for run in runs:
            outcomes(run)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LegatoError(f"cannot read runs from {path}: {error!r}") from error
    return runs


def name_of(run: Document) -> str:
    """What its endpoint is called: its own name, else its host and port."""
    host: str = run["endpoint"].partition("://")[2].partition("/")[0]
    return run.get("name") or host


def outcomes(run: Document) -> list[Outcome]:
    """Its requests, warm-up included; their texts are not kept."""
    return [Outcome.from_json(record) for record in run["requests"]]


def measured(run: Document) -> list[Outcome]:
    """Its requests without the warm-up."""
    return [outcome for outcome in outcomes(run) if not outcome.warmup]
