"""The command line: options from configuration classes, errors as one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from legato.cli.arguments import expand_dataclasses, field_texts, repeat_option
from legato.cli.main import app
from legato.config import EngineConfig
from legato.server.settings import ServerSettings


@dataclass(frozen=True)
class Settings:
    """Settings of a test.

    Attributes:
        size: how large
            it is.
        names: what it is called;
            more than `size`.
    """

    size: int = 3
    names: tuple[str, ...] = ()


def run(*arguments: str) -> tuple[int, Settings | None, str]:
    seen: list[Settings] = []

    @expand_dataclasses
    def command(settings: Settings, other: int = 1) -> None:
        seen.append(settings)

    small = typer.Typer(rich_markup_mode=None)
    small.command()(command)
    result = CliRunner().invoke(small, list(arguments))
    return result.exit_code, seen[0] if seen else None, result.output


def command_paths() -> list[list[str]]:
    """The words of every subcommand, without groups."""

    def below(command: Any, path: list[str]) -> Iterator[list[str]]:
        children = getattr(command, "commands", None)
        if children is None:
            yield path
        for name, child in (children or {}).items():
            yield from below(child, [*path, name])

    return list(below(typer.main.get_command(app), []))


def test_each_field_is_an_option_with_the_field_s_default() -> None:
    assert run() == (0, Settings(), "")


def test_options_reach_the_dataclass() -> None:
    _, settings, _ = run("--size", "7", "--names", "a", "--names", "b")
    assert settings == Settings(size=7, names=("a", "b"))


def test_help_is_the_text_of_the_attribute() -> None:
    assert field_texts(Settings) == {
        "size": "how large it is.",
        "names": "what it is called; more than `size`.",
    }


def test_an_unknown_option_is_refused() -> None:
    status, settings, _ = run("--sise", "7")
    assert status == 2
    assert settings is None


@pytest.mark.parametrize("kind", [EngineConfig, ServerSettings])
def test_every_field_of_a_configuration_is_documented(kind: type) -> None:
    assert field_texts(kind).keys() == kind.__dataclass_fields__.keys()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--n", "1", "8", "32"], ["--n", "1", "--n", "8", "--n", "32"]),
        (["--n", "1", "--json", "8"], ["--n", "1", "--json", "8"]),
        (["x", "--n", "4"], ["x", "--n", "4"]),
        (["--m", "1", "2"], ["--m", "1", "2"]),
        ([], []),
    ],
)
def test_several_values_after_one_option(given: list[str], expected: list[str]) -> None:
    assert repeat_option(given, "--n") == expected


@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_every_subcommand_explains_itself(path: list[str]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


@pytest.mark.parametrize("group", [[], ["bench"], ["plan"]], ids=" ".join)
def test_a_list_of_commands_tells_what_each_does_on_a_line(group: list[str]) -> None:
    listed = CliRunner().invoke(app, [*group, "--help"]).output.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_a_command_s_own_options_come_before_those_of_its_configuration() -> None:
    text = run("--help")[2]
    assert text.index("--other") < text.index("--size")


def test_help_names_fields_as_options() -> None:
    assert "more than --size" in run("--help")[2]


def test_a_field_that_a_command_has_no_use_for_is_no_option() -> None:
    result = CliRunner().invoke(app, ["run", "--patience", "1", "hi"])
    assert result.exit_code == 2
    assert "--patience" in result.output


def test_pull_without_a_name_lists_the_models() -> None:
    result = CliRunner().invoke(app, ["pull"])
    assert "smollm2-135m-instruct" in result.output
    assert "Apache-2.0" in result.output


def test_an_error_is_one_line_and_a_status() -> None:
    command = [sys.executable, "-m", "legato", "inspect", "/no/such/model.gguf"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("legato: no model at '/no/such/model.gguf'")
    assert done.stderr.count("\n") == 1
