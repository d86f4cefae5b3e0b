"""How models write calls. A model's chat template tells which way it was trained on."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """The text around calls, each a JSON object with a name and arguments.

    Attributes:
        opens: what stands before calls; "" where nothing does.
        closes: what stands behind a call.
        separator: between calls.
        begins, ends: around all calls.
        arguments: the member that holds the arguments.
        is_pythonic: calls are a Python list of function calls instead.
    """

    name: str
    opens: str = ""
    closes: str = ""
    separator: str = "\n"
    begins: str = ""
    ends: str = ""
    arguments: str = "arguments"
    is_pythonic: bool = False


HERMES = Dialect("hermes", opens="<tool_call>", closes="</tool_call>")
"""Hermes, Qwen 2.5 and 3, and what the prompt for other models asks for."""
LLAMA = Dialect("llama", opens="<|python_tag|>", separator="; ", arguments="parameters")
"""Llama 3: one object, bare or behind its tag."""
MISTRAL = Dialect("mistral", opens="[TOOL_CALLS]", separator=", ", begins="[", ends="]")
"""Mistral: a list behind its marker."""
PYTHONIC = Dialect("pythonic", is_pythonic=True)
"""Llama 3.2 and others that write ``[f(a=1), g()]``."""


@dataclass(frozen=True, slots=True)
class ToolStyle:
    """How one model is offered functions and calls them.

    Attributes:
        native: its template shows tools; otherwise a prompt of our own does.
    """

    dialect: Dialect = HERMES
    native: bool = False


def style_of(template: str | None) -> ToolStyle:
    """The style of the model that has this chat template (Jinja source)."""
    if template is None or not re.search(r"\btools\b", template):
        return ToolStyle()
    for text, dialect in _SIGNS:
        if text in template:
            return ToolStyle(dialect, native=True)
    return ToolStyle(HERMES, native=True)


_SIGNS = (
    ("<tool_call>", HERMES),
    ("[TOOL_CALLS]", MISTRAL),
    ("func_name1(", PYTHONIC),
    ("<|python_tag|>", LLAMA),
    ('"parameters":', LLAMA),
)
"""The first that a template contains decides."""
