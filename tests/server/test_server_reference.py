from pathlib import Path

import pytest

from legato.server.openapi import BODIES
from legato.server.reference import api_reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_document_is_what_the_models_say():
    assert DOCUMENT.read_text() == api_reference(), (
        "run: python -m legato.server.reference > docs/api.md"
    )


@pytest.mark.parametrize("path", BODIES)
def test_every_field_honoured_or_refused_is_in_the_document(path):
    model, document = BODIES[path], DOCUMENT.read_text()
    for name in model.model_fields.keys() | model.refused:
        assert f"| `{name}` |" in document, name
