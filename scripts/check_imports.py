"""Imports go one way. The table says what each part may know; anything else is an error.

So is what the table allows and no import needs, but for `BASE`, which is given as a whole.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "src" / "legato"

BASE = {"errors", "core", "clock", "config", "tensor"}
SEE_ALL = {"__init__", "__main__", "cli"}  # the public surface and the command line
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "core": set(),
    "clock": set(),
    "config": set(),
    "tensor": set(),
    "whole_file": set(),
    "dequantize": {"tensor"},
    "validate": BASE,
    "constrain": {"errors", "clock"},
    "adaptive": {"errors", "core"},
    "tools": {"errors", "constrain", "text"},
    "text": {"errors", "clock"},
    "completion": {"core", "text"},
    "compute": {"errors", "core", "adaptive", "completion", "text"},
    "models": {*BASE, "text", "dequantize", "whole_file"},
    "program": {*BASE, "models"},
    "sampling": {*BASE, "backends"},
    "backends": {*BASE, "program", "models", "dequantize", "sampling", "_native"},
    "kvcache": {*BASE, "program"},
    "scheduler": {*BASE, "kvcache"},
    "cost": {*BASE, "program", "backends", "whole_file", "_native"},
    "constraint_masks": {*BASE, "backends", "scheduler"},
    "sampling_slots": {*BASE, "backends", "constraint_masks", "scheduler"},
    "decode_rows": {*BASE, "backends", "kvcache", "sampling_slots", "scheduler"},
    "verify_rows": {*BASE, "backends", "decode_rows", "kvcache", "sampling_slots", "scheduler"},
    "runner": {
        *BASE,
        "backends",
        "decode_rows",
        "verify_rows",
        "scheduler",
        "kvcache",
        "sampling_slots",
    },
    "plan": {*BASE, "models", "program"},
    "speculative": {
        "_native",
        *BASE,
        "backends",
        "cost",
        "kvcache",
        "program",
        "sampling_slots",
        "scheduler",
        "whole_file",
    },
    "step_times": {*BASE, "cost", "program", "scheduler"},
    "admission": {*BASE, "backends", "scheduler", "step_times", "validate"},
    "figures": {*BASE, "scheduler", "step_times"},
    "live_requests": {*BASE, "scheduler"},
    "probes": {*BASE, "scheduler"},
    "questions": {*BASE, "live_requests", "probes", "scheduler"},
    "endings": {*BASE, "live_requests", "questions", "scheduler"},
    "scoring": {*BASE, "backends", "kvcache"},
    "engine": {
        *BASE,
        "admission",
        "backends",
        "cost",
        "endings",
        "figures",
        "kvcache",
        "adaptive",
        "live_requests",
        "program",
        "questions",
        "runner",
        "scheduler",
        "scoring",
        "step_times",
    },
    "engine_jobs": {*BASE, "engine", "scheduler"},
    "event_stream": {"errors", "core"},
    "async_engine": {*BASE, "engine", "engine_jobs", "event_stream", "scheduler"},
    "draft_model": {*BASE, "backends", "cost", "models", "program", "speculative", "text"},
    "self_draft": {*BASE, "backends", "cost", "draft_model", "program", "speculative"},
    "find_shortcut": {
        *BASE,
        "backends",
        "cost",
        "draft_model",
        "program",
        "self_draft",
        "whole_file",
    },
    "assemble": {
        *BASE,
        "backends",
        "cost",
        "draft_model",
        "engine",
        "find_shortcut",
        "self_draft",
        "kvcache",
        "models",
        "program",
        "scheduler",
        "speculative",
        "text",
    },
    "llm_results": {"core", "tools"},
    "llm_inputs": {*BASE, "constrain", "llm_results", "text", "tools"},
    "llm_jobs": {*BASE, "adaptive", "completion", "engine", "llm_results", "validate"},
    "llm": {
        *BASE,
        "adaptive",
        "assemble",
        "backends",
        "completion",
        "compute",
        "engine",
        "llm_inputs",
        "llm_jobs",
        "llm_results",
        "text",
        "tools",
    },
    "own_texts": {"errors", "core", "llm"},
    "metrics": set(),
    "server": {
        *BASE,
        "_native",
        "adaptive",
        "async_engine",
        "engine_jobs",
        "assemble",
        "completion",
        "compute",
        "constrain",
        "metrics",
        "models",
        "text",
        "tools",
        "validate",
    },
    "bench": {
        *BASE,
        "adaptive",
        "assemble",
        "backends",
        "compute",
        "constrain",
        "engine",
        "metrics",
        "program",
        "text",
        "cost",
        "_native",
    },
}


def part_of(module: str) -> str:
    """The part that a dotted module below `legato` belongs to; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of Legato in a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "legato":
            names = [f"legato.{a.name}" for a in node.names]
            yield from (
                (node.lineno, n)
                for n in (names if node.module == "legato" else [node.module or ""])
            )
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, a.name) for a in node.names if a.name.startswith("legato."))


def crossings(source: Path) -> Iterator[tuple[str, str, str]]:
    """(file and line, part, imported part) of every import from one part into another."""
    for path in sorted(source.rglob("*.py")):
        part = path.relative_to(source).parts[0].removesuffix(".py")
        for line, module in imports(path):
            if part not in SEE_ALL and part_of(module) != part:
                yield f"{path.relative_to(source.parent)}:{line}", part, part_of(module)


def violations(source: Path = SOURCE) -> list[str]:
    """One line for every import that the table does not allow."""
    return [
        f"{where}: {part} must not import {target or 'the package'}"
        for where, part, target in crossings(source)
        if target not in ALLOWED.get(part, set())
    ]


def unused(source: Path = SOURCE) -> list[str]:
    """One line for every permission in the table that no import needs."""
    needed = {(part, target) for _, part, target in crossings(source)}
    return [
        f"{part} does not import {target} any more: take it out of the table"
        for part, allowed in ALLOWED.items()
        for target in sorted(allowed - BASE if allowed >= BASE else allowed)
        if (part, target) not in needed
    ]


if __name__ == "__main__":
    problems = violations() + unused()
    print("\n".join(problems) or "imports go one way")
    sys.exit(bool(problems))
