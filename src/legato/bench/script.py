"""Scripted answers: what a replayed server says, when, and how it misbehaves."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from legato.errors import LegatoError


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Attributes:
    after_ms: wait before it.
    text: text of a chunk.
    tokens: how many tokens the usage counts for it.
    comment: a keep-alive comment instead of a chunk.
    raw: bytes of the event stream, as they are (Latin-1).
    """

    after_ms: float = 0.0
    text: str = ""
    tokens: int = 1
    comment: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One answer.

    Attributes:
        steps: in their order.
        role: whether a chunk with nothing but the role comes first, at once.
        status: of the response; other than 200 there is an error object and nothing else.
        finish_reason: of the last chunk; "" sends none.
        usage: whether usage follows.
        prompt_tokens: what usage says of the prompt.
        done: whether [DONE] follows.
        cut: write pieces of at most this many bytes, each an HTTP chunk; 0 writes events whole.
        reset: break the connection after the steps.
        silent: never answer.
    """

    steps: tuple[Step, ...] = ()
    role: bool = True
    status: int = 200
    finish_reason: str = "length"
    usage: bool = True
    prompt_tokens: int = 1
    done: bool = True
    cut: int = 0
    reset: bool = False
    silent: bool = False

    @property
    def tokens(self) -> int:
        """What usage says."""
        return sum(step.tokens for step in self.steps if step.text)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Script:
        """From the fields of a JSON object; unknown ones are refused."""
        values = _known(cls, record)
        steps = tuple(Step(**_known(Step, step)) for step in values.pop("steps", ()))
        return cls(steps=steps, **values)


def _known(kind: type, record: dict[str, Any]) -> dict[str, Any]:
    if unknown := set(record) - {field.name for field in fields(kind)}:
        raise LegatoError(f"a script has no field {', '.join(sorted(unknown))}")
    return dict(record)


def read_scripts(path: Path) -> list[Script]:
    """A JSON file with one script or a list of them, or JSONL with one a line.

    Raises:
        LegatoError: the file cannot be read, or a script has an unknown field.
    """
    try:
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        read = [json.loads(line) for line in lines if line.strip()]
        records = read[0] if len(read) == 1 and isinstance(read[0], list) else read
        scripts = [Script.from_json(record) for record in records]
    except (OSError, ValueError, TypeError) as error:
        raise LegatoError(f"cannot read scripts from {path}: {error}") from error
    if not scripts:
        raise LegatoError(f"{path} has no scripts")
    return scripts
