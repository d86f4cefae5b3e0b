"""Which parser reads an answer."""

from __future__ import annotations

from legato.tools.dialect import HERMES, Dialect
from legato.tools.function import ToolUse
from legato.tools.parser import JsonParser
from legato.tools.parts import ToolParser
from legato.tools.pythonic import PythonicParser


def written_dialect(dialect: Dialect, *, prescribed: bool) -> Dialect:
    """The dialect of an answer; a prescribed one is always JSON."""
    return HERMES if dialect.is_pythonic and prescribed else dialect


def make_parser(dialect: Dialect, use: ToolUse, *, prescribed: bool) -> ToolParser:
    """A parser for one answer.

    Args:
        dialect: how the model writes calls.
        use: the functions that were offered.
        prescribed: a grammar of `tools.grammar` held while the answer was written.
    """
    most_calls = None if use.parallel else 1
    dialect = written_dialect(dialect, prescribed=prescribed)
    if dialect.is_pythonic:
        return PythonicParser(use.names, most_calls)
    bare = not (prescribed and dialect.closes)
    return JsonParser(dialect, use.names, most_calls, bare=bare)
