"""Arguments that subcommands share. Defaults and help come from the configuration classes."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any

import typer

from legato.config import EngineConfig
from legato.models.catalogue import DEFAULT_MODEL

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A .gguf file, a safetensors folder, or a known name.")
]
DEFAULT = DEFAULT_MODEL


@dataclass(frozen=True)
class Without:
    """Marks a configuration some fields of which the command has no use, and no option, for."""

    fields: frozenset[str]


OfflineConfig = Annotated[EngineConfig, Without(frozenset({"max_waiting", "patience"}))]
"""Of commands that serve nobody, so that nobody waits and nobody is refused."""


def expand_dataclasses(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is a dataclass by one option per field of that class.

    The options' defaults are the fields' defaults and their help is the text in the class's
    "Attributes:" section, so both exist once. The command's own options come first in its help.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    own: list[inspect.Parameter] = []
    expanded: list[inspect.Parameter] = []
    classes: dict[str, tuple[type, list[Field[Any]]]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind, left_out = _unmarked(hints[name])
        if isinstance(kind, type) and is_dataclass(kind):
            chosen = [field for field in fields(kind) if field.name not in left_out]
            classes[name] = kind, chosen
            expanded += _field_parameters(kind, chosen)
        else:
            keyword = inspect.Parameter.KEYWORD_ONLY
            own.append(parameter.replace(annotation=hints[name], kind=keyword))

    def parsed(**arguments: Any) -> None:  # noqa: ANN401 - the parser's own values
        for name, (kind, chosen) in classes.items():
            arguments[name] = kind(**{f.name: _as_field(f, arguments.pop(f.name)) for f in chosen})
        command(**arguments)

    parsed.__name__, parsed.__doc__ = command.__name__, command.__doc__
    parsed.__signature__ = inspect.Signature([*own, *expanded])  # type: ignore[attr-defined]
    parsed.__annotations__ = {p.name: p.annotation for p in (*own, *expanded)}
    return parsed


def _unmarked(hint: Any) -> tuple[Any, frozenset[str]]:  # noqa: ANN401 - any annotation
    """A parameter's type, and the fields that `Without` takes out."""
    if typing.get_origin(hint) is not Annotated:
        return hint, frozenset()
    kind, *marks = typing.get_args(hint)
    left_out = [mark.fields for mark in marks if isinstance(mark, Without)]
    return kind, frozenset().union(*left_out)


def _field_parameters(kind: type, chosen: Sequence[Field[Any]]) -> list[inspect.Parameter]:
    hints, texts = typing.get_type_hints(kind), field_texts(kind)
    parameters = []
    for field in chosen:
        assert field.default is not MISSING, field.name
        several = isinstance(field.default, tuple)
        hint = list[str] if several else hints[field.name]
        option = typer.Option(help=_help(texts[field.name], texts))
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=list(field.default) if several else field.default,
                annotation=Annotated[hint, option],
            )
        )
    return parameters


def _help(text: str, names: Collection[str]) -> str:
    """`text` as a sentence, with every field in `names` written as its option."""
    fields_named = f"`({'|'.join(map(re.escape, names))})`"
    text = re.sub(fields_named, lambda found: "--" + found[1].replace("_", "-"), text)
    return text[:1].upper() + text[1:]


def _as_field(field: Field[Any], value: Any) -> Any:  # noqa: ANN401 - a field may hold anything
    return tuple(value) if isinstance(field.default, tuple) else value


def field_texts(documented: type) -> dict[str, str]:
    """Field → its text in the "Attributes:" section of a class docstring."""
    section = inspect.cleandoc(documented.__doc__ or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def repeat_option(arguments: Sequence[str], option: str) -> list[str]:
    """Write ``--option 1 8 32`` as ``--option 1 --option 8 --option 32``, which click parses."""
    result: list[str] = []
    repeating = False
    for argument in arguments:
        if repeating and argument.isdigit() and result[-1] != option:
            result += [option, argument]
            continue
        repeating = argument == option or (repeating and argument.isdigit())
        result.append(argument)
    return result
