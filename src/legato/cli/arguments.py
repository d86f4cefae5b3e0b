"""Arguments that several subcommands share. Defaults and help come from `EngineConfig` itself."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any

import typer

from legato.config import EngineConfig
from legato.models.catalogue import DEFAULT_MODEL

ModelArgument = Annotated[
    str, typer.Option("--model", "-m", help="A .gguf file, a safetensors folder, or a known name.")
]
DEFAULT = DEFAULT_MODEL


def engine_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give `command` an option per field of EngineConfig, in place of its `config` parameter."""
    hints = typing.get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "config"
    ]
    names = {field.name for field in fields(EngineConfig)}

    def with_config(**arguments: Any) -> None:
        chosen = {name: arguments.pop(name) for name in names}
        command(config=EngineConfig(**chosen), **arguments)

    with_config.__name__ = command.__name__
    with_config.__doc__ = command.__doc__
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    with_config.__signature__ = inspect.Signature([*keyword_only, *_config_parameters()])  # type: ignore[attr-defined]
    with_config.__annotations__ = {p.name: p.annotation for p in [*own, *_config_parameters()]}
    return with_config


def _config_parameters() -> list[inspect.Parameter]:
    hints, texts = typing.get_type_hints(EngineConfig), field_texts(EngineConfig)
    parameters = []
    for field in fields(EngineConfig):
        assert field.default is not MISSING, field.name
        annotation = Annotated[hints[field.name], typer.Option(help=texts[field.name])]
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default,
                annotation=annotation,
            )
        )
    return parameters


def field_texts(documented: type) -> dict[str, str]:
    """Field → its text in the "Attributes:" section of a class docstring."""
    section = inspect.cleandoc(documented.__doc__ or "").partition("Attributes:")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def repeat_option(arguments: Sequence[str], option: str) -> list[str]:
    """Write ``--option 1 8 32`` as ``--option 1 --option 8 --option 32``, which the parser knows."""
    result: list[str] = []
    repeating = False
    for argument in arguments:
        if repeating and argument.isdigit() and result[-1] != option:
            result += [option, argument]
            continue
        repeating = argument == option or (repeating and argument.isdigit())
        result.append(argument)
    return result
