"""A start that cannot succeed ends soon, and says why."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from e2e.served import LIMIT_S

pytestmark = pytest.mark.real_model


def start_up(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "legato", "serve", "--port", "0", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model", "/does/not/exist.gguf"],
        ["--model", "no-such-name"],
        ["--kv-memory", "1"],
        ["--max-context", "999999"],
        ["--block-size", "7"],
        ["--port", "99999"],
    ],
    ids=" ".join,
)
def test_a_start_that_fails_says_why_in_one_line(smollm2_path, arguments):
    model = [] if "--model" in arguments else ["--model", str(smollm2_path)]
    ended = start_up(*model, *arguments)
    assert ended.returncode not in (0, -signal.SIGSEGV)
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
    assert "listens" not in ended.stdout


def test_a_damaged_model_says_so_in_one_line(smollm2_path, tmp_path):
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(smollm2_path.read_bytes()[:2_000_000])
    ended = start_up("--model", str(damaged))
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1, ended.stderr
