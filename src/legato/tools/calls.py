"""A whole answer as text and calls."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from legato.tools.parts import CallArguments, CallBegin, Part, TextPart, ToolParser


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model wrote; `arguments` is JSON text, unless the answer was cut off."""

    name: str
    arguments: str


def read_answer(parser: ToolParser, text: str) -> tuple[str, list[ToolCall]]:
    """The text around the calls of a whole answer, and the calls."""
    return collected(parser.push(text) + parser.finish())


def collected(parts: Iterable[Part]) -> tuple[str, list[ToolCall]]:
    """The texts of `parts` joined, and their calls whole."""
    texts: list[str] = []
    names: list[str] = []
    arguments: list[str] = []
    for part in parts:
        match part:
            case TextPart(text):
                texts.append(text)
            case CallBegin(_, name):
                names.append(name)
                arguments.append("")
            case CallArguments(index, text):
                arguments[index] += text
    return "".join(texts), [ToolCall(*call) for call in zip(names, arguments, strict=True)]
