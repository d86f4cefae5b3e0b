"""The Jinja environment of chat templates: no way out, and nothing without a bound.

A template comes with a model file, so it is not trusted. It gets an explicit list of filters and
string methods, of which those that can multiply sizes are checked before they run; the rest is
charged to the rendering's `RenderBudget`, which travels in the context.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

from legato.text.template_budget import RenderBudget, require_items, require_length
from legato.text.template_rewrite import CHARGE, COUNT, CountingRewrite, check_tree

BUDGET = "legato_budget"
# fmt: off
_FILTERS = frozenset({
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float",
    "groupby", "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject",
    "rejectattr", "reverse", "safe", "select", "selectattr", "sort", "string", "title", "trim",
    "unique", "upper", "wordcount",
})
_STRING_METHODS = frozenset({
    "capitalize", "casefold", "count", "endswith", "find", "index", "isalnum", "isalpha",
    "isascii", "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper",
    "join", "lower", "lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind",
    "rindex", "rpartition", "rsplit", "rstrip", "split", "splitlines", "startswith", "strip",
    "swapcase", "title", "upper",
})
# fmt: on
_JINJA_ARGUMENTS = frozenset({"_loop_vars", "_block_vars"})
_MAX_INDENT = 16


class ChatEnvironment(ImmutableSandboxedEnvironment):
    """Compiles templates with their work counted."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[LoopControlExtension, _GenerationBlock],
        )
        self.globals = {"range": safe_range, "dict": dict, "namespace": _Namespace}
        allowed = {name: f for name, f in self.filters.items() if name in _FILTERS}
        self.filters = allowed | {
            "indent": _indent,
            "join": _join,
            "replace": _replace,
            "tojson": _tojson,
            CHARGE: _charge,
            COUNT: _count,
        }

    def _generate(
        self,
        source: nodes.Template,
        name: str | None,
        filename: str | None,
        defer_init: bool = False,
    ) -> str:
        check_tree(source)
        return super()._generate(CountingRewrite().visit(source), name, filename, defer_init)

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        """Of strings only the listed methods; of all else what the sandbox allows."""
        if isinstance(obj, RenderBudget) or (isinstance(obj, str) and attr not in _STRING_METHODS):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: object) -> None:
        """Formatting has no bound on widths, so `str.format` stays an unsafe attribute."""

    def call_filter(
        self,
        name: str,
        value: object,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        context: Context | None = None,
        eval_ctx: EvalContext | None = None,
    ) -> object:
        """A filter that another filter applies, such as `map`; its result is charged too."""
        result = super().call_filter(name, value, args, kwargs, context, eval_ctx)
        return result if context is None else context[BUDGET].charge(result)

    def call(self, context: Context, obj: object, /, *args: object, **kwargs: object) -> object:
        """Call `obj` as the sandbox does, with its cost checked and counted."""
        budget: RenderBudget = context[BUDGET]
        budget.spend()
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and name in _CHECKED_METHODS:
            own = {key: value for key, value in kwargs.items() if key not in _JINJA_ARGUMENTS}
            return budget.charge(_CHECKED_METHODS[name](owner, *args, **own))
        if isinstance(obj, LoopContext):
            args = (budget.counted(cast("Iterable[object]", args[0])), *args[1:])
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """An operator that can make something large, checked before it runs."""
        _BINOP_CHECKS[operator](left, right)
        return context[BUDGET].charge(super().call_binop(context, operator, left, right))


class _Namespace(Namespace):
    """Prints as a fixed text: its own would write out all that it refers to."""

    def __repr__(self) -> str:
        return "<namespace>"


class _GenerationBlock(Extension):
    """``{% generation %}`` marks the assistant's text for training; rendering ignores the mark."""

    tags = {"generation"}  # noqa: RUF012 (the base class types it as a set)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The nodes inside the block."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@pass_context
def _charge(context: Context, value: object) -> object:
    return context[BUDGET].charge(value)


@pass_context
def _count(context: Context, values: Iterable[Any]) -> Iterable[Any]:
    return context[BUDGET].counted(values)  # type: ignore[no-any-return]


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is, without escapes for HTML."""
    _check_indent(indent or 0)
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _indent(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    _check_indent(width)
    padding = " " * width
    lines = text.split("\n")
    rest = [padding + line if line or blank else line for line in lines[1:]]
    return "\n".join([padding + lines[0] if first else lines[0], *rest])


def _replace(text: object, old: str, new: str, count: int = -1) -> str:
    text = str(text)
    found = text.count(old) if count < 0 else min(count, text.count(old))
    require_length(len(text) + found * max(len(new) - len(old), 0))
    return text.replace(old, new, count)


@pass_context
def _join(
    context: Context, values: Iterable[Any], d: str = "", attribute: str | int | None = None
) -> str:
    if attribute is not None:
        values = (context.environment.getitem(value, attribute) for value in values)
    return _join_method(str(d), values)


def _check_indent(width: int) -> None:
    if not isinstance(width, int) or not 0 <= width <= _MAX_INDENT:
        raise SecurityError(f"an indent of {width!r} is not between 0 and {_MAX_INDENT}")


def _join_method(separator: str, values: Iterable[object]) -> str:
    texts = [str(value) for value in values]
    require_length(sum(map(len, texts)) + len(separator) * max(len(texts) - 1, 0))
    return separator.join(texts)


def _check_repeat(left: object, right: object) -> None:
    for value, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(value, str):
            require_length(len(value) * times)
        elif isinstance(times, int) and isinstance(value, list | tuple):
            require_items(len(value) * times)
        elif isinstance(value, int) and value.bit_length() > 256:
            raise SecurityError("a number is too large to multiply")


def _check_add(left: object, right: object) -> None:
    if isinstance(left, str) and isinstance(right, str):
        require_length(len(left) + len(right))
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        require_items(len(left) + len(right))


def _check_power(left: object, right: object) -> None:
    raise SecurityError("the operator ** is not available")


def _check_modulo(left: object, right: object) -> None:
    if isinstance(left, str):
        raise SecurityError("formatting with % is not available; join strings with ~")


_BINOP_CHECKS: Mapping[str, Callable[[object, object], None]] = {
    "*": _check_repeat,
    "**": _check_power,
    "%": _check_modulo,
    "+": _check_add,
}
_CHECKED_METHODS: Mapping[str, Callable[..., str]] = {"replace": _replace, "join": _join_method}
