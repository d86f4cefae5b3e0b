"""The import table catches what it should."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_imports.py"


@pytest.fixture
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_imports", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_source_keeps_the_direction(checker: ModuleType) -> None:
    assert checker.violations() == []


def test_the_table_allows_no_more_than_the_source_needs(checker: ModuleType) -> None:
    assert checker.unused() == []


@pytest.mark.parametrize(
    "line",
    ["from legato.engine import Engine", "import legato.engine", "from legato import engine"],
)
def test_an_import_against_the_direction_is_named(
    checker: ModuleType, tmp_path: Path, line: str
) -> None:
    module = tmp_path / "legato" / "kvcache" / "blocks.py"
    module.parent.mkdir(parents=True)
    module.write_text(f"def late():\n    {line}\n")
    (found,) = checker.violations(tmp_path / "legato")
    assert "blocks.py:2: kvcache must not import engine" in found


def test_a_permission_that_nobody_uses_is_named(
    checker: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bench.py").write_text("from legato.engine import Engine\n")
    allowed = {"bench": {"engine", "llm"}, "engine": checker.BASE}
    monkeypatch.setattr(checker, "ALLOWED", allowed)
    (found,) = checker.unused(tmp_path)
    assert "bench does not import llm" in found
