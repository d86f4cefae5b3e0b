"""What a newcomer types, on the real model, in processes of their own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real_model


def legato(*arguments: str, stdin: str = "") -> str:
    """Standard output of a run that must succeed."""
    command = [sys.executable, "-m", "legato", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, input=stdin, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_demo_streams_an_answer_and_prints_its_timeline(smollm2_path: Path) -> None:
    out = legato("demo", "Say hello.", "--max-tokens", "12")
    assert "> Say hello." in out
    for heading in ("TTFT", "TBT p50", "TBT p99", "TPOT", "tokens/s", "fluidity-index"):
        assert heading in out
    assert re.search(r"\d+ tokens in, \d+ out", out)


def test_run_answers_the_same_each_time(smollm2_path: Path) -> None:
    arguments = ("run", "-", "--max-tokens", "8")
    answers = {legato(*arguments, stdin="What is the capital of France?") for _ in range(2)}
    assert len(answers) == 1
    assert "Paris" in answers.pop()


def test_chat_remembers_the_conversation(smollm2_path: Path) -> None:
    out = legato("chat", "--temperature", "0", "--max-tokens", "16", stdin="Hello!\nAnd you?\n\n")
    assert out.count("> ") == 3
    assert len(out) > 40


def test_inspect_shows_architecture_program_and_cost(smollm2_path: Path) -> None:
    out = legato("inspect", "--depth", "100")
    for part in ("hidden_size", "layer 0; layers 1..28 are like it", "attention", "kernels"):
        assert part in out


def test_bench_engine_ends_with_one_json_document(smollm2_path: Path) -> None:
    options = ("--prompt", "16", "--output", "2", "--concurrency", "1", "3", "--json")
    document = json.loads(legato("bench", "engine", *options).splitlines()[-1])
    assert [result["concurrency"] for result in document["results"]] == [1, 3]
    for result in document["results"]:
        assert result["prefill_tokens_per_s"] > 0
        assert result["decode_tokens_per_s"] > 0
    assert document["machine"]["bandwidth_gb_s"] > 0
    assert document["machine"]["int8_gmac_s"] > 0
