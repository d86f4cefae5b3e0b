"""Links, files, tests, commands and options that the documents name are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from legato.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("*.md", "docs/*.md", "benchmarks/*.md", "tests/*.md")
DOCUMENTS = sorted(path for place in PLACES for path in ROOT.glob(place))
FOLDERS = ("src", "native", "tests", "benchmarks", "scripts")
SOURCES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")]
OPTION = r"--[a-z][a-z0-9-]*"
COMMAND = r"(?:^\s*|/|\$ )legato ((?:bench |plan )?[a-z]+)\b([^|;#]*)"


def code_in(document: Path) -> list[str]:
    """What stands between backticks, and lines of code, each on one line."""
    text = document.read_text().replace("\\\n", " ")
    blocks, prose = r"(?s)```.*?```", r"(?m)^    .*$"
    lines = [line for block in re.findall(blocks, text) for line in block.split("\n")]
    lines += re.findall(prose, re.sub(blocks, "", text))
    spans = re.findall(r"`([^`]+)`", re.sub(blocks, "", text))
    return lines + [re.sub(r"\s+", " ", span) for span in spans]


def commands() -> dict[str, set[str]]:
    """The options of every command by its words, such as ``bench serve``."""

    def below(command: Any, name: str) -> Iterator[tuple[str, set[str]]]:
        yield name.strip(), {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        for word, child in getattr(command, "commands", {}).items():
            yield from below(child, f"{name} {word}")

    return dict(below(typer.main.get_command(app), ""))


@pytest.fixture(scope="module")
def options() -> dict[str, set[str]]:
    return commands()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        assert target.startswith("https://") or (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_source_files_that_are_named_exist(document):
    for code in code_in(document):
        for name in re.findall(r"[\w./-]+\.(?:py|h|cpp)\b", code):
            assert any(str(path).endswith(f"/{name}") for path in SOURCES), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_are_named_exist(document):
    for code in code_in(document):
        for file, name in re.findall(r"([\w/]+\.py)::(\w+)", code):
            assert f"def {name}(" in (ROOT / "tests" / file).read_text(), code


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_their_options_exist(document, options):
    for code in code_in(document):
        for words, rest in re.findall(COMMAND, code):
            assert words in options, code
            assert set(re.findall(OPTION, rest)) <= options[words] | {"--help"}, code


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_options_of_scripts_exist(document):
    for code in code_in(document):
        for script, rest in re.findall(r"python ((?:benchmarks|scripts)/\w+\.py)([^|;]*)", code):
            text = (ROOT / script).read_text()
            assert all(f'"{option}"' in text for option in re.findall(OPTION, rest)), code
