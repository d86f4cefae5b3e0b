import sys

import pytest
from fake_backend import fake_program

from legato.backends.registry import create_backend
from legato.config import EngineConfig
from legato.errors import BackendError


def test_kernels_that_were_not_built_are_one_line_that_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "legato.backends.native", None)
    with pytest.raises(BackendError, match=r"make native.*--backend reference") as failure:
        create_backend(fake_program(), {}, EngineConfig())
    assert "\n" not in str(failure.value)
