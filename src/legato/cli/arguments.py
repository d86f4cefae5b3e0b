"""Arguments that subcommands share. Defaults and help come from the configuration classes."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any

import typer

from legato.models.catalogue import DEFAULT_MODEL

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A .gguf file, a safetensors folder, or a known name.")
]
DEFAULT = DEFAULT_MODEL


def expand_dataclasses(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter that is a dataclass by one option per field of that class.

    The options' defaults are the fields' defaults and their help is the text in the class's
    "Attributes:" section, so both exist once.
    """
    hints = typing.get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    classes: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(hints[name]):
            classes[name] = hints[name]
            parameters += _field_parameters(hints[name])
        else:
            parameters.append(
                parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            )

    def expanded(**arguments: Any) -> None:  # noqa: ANN401 - the parser's own values
        for name, kind in classes.items():
            chosen = {f.name: _as_field(f, arguments.pop(f.name)) for f in fields(kind)}
            arguments[name] = kind(**chosen)
        command(**arguments)

    expanded.__name__, expanded.__doc__ = command.__name__, command.__doc__
    expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def _field_parameters(kind: type) -> list[inspect.Parameter]:
    hints, texts = typing.get_type_hints(kind), field_texts(kind)
    parameters = []
    for field in fields(kind):
        assert field.default is not MISSING, field.name
        several = isinstance(field.default, tuple)
        hint = list[str] if several else hints[field.name]
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=list(field.default) if several else field.default,
                annotation=Annotated[hint, typer.Option(help=texts[field.name])],
            )
        )
    return parameters


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
