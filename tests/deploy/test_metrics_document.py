"""What /metrics tells is in the documents, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from legato.metrics.price import MachinePrice
from legato.metrics.prometheus import EngineGauges, ServerMetrics

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def served() -> set[str]:
    text = ServerMetrics(EngineGauges, MachinePrice(1.0)).render().decode()
    families = re.findall(r"^# TYPE (\w+) ", text, re.M)
    return {family for family in families if not family.endswith("_created")}


@pytest.fixture(scope="module")
def documented() -> set[str]:
    text = "".join((DOCS / name).read_text() for name in ("operations.md", "security.md"))
    return set(re.findall(r"`(legato_\w+)", text))


def test_every_metric_is_in_the_documents_by_its_full_name(served, documented):
    assert served - documented == set()


def test_the_documents_name_no_metric_that_is_gone(served, documented):
    assert documented - served == set()
