"""A real server in a process of its own, and what its clients send."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
RESPONSES, EMBEDDINGS, TOKENIZE = "/v1/responses", "/v1/embeddings", "/tokenize"
BASE: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Say hi"}], "max_tokens": 2},
    COMPLETIONS: {"prompt": "Hello", "max_tokens": 2},
}
PATIENT = {"slo": {"ttft_ms": 600_000}}
NEIGHBOUR = {
    "prompt": "The sea is",
    "max_tokens": 8,
    "temperature": 1.0,
    "seed": 7,
    "legato": PATIENT,
}
LEAK = re.compile(r"0x[0-9a-f]{6,}|Traceback|\.py\b|/home/|/usr/|/tmp/|/root/")
LIMIT_S = 20


@contextmanager
def serving(path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "legato", "serve", "--model", str(path), "--port", "0"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert "listens on" in line
            yield process, line.split()[-1]
        finally:
            process.kill()


def text_of(response: httpx.Response) -> str:
    return response.json()["choices"][0]["text"]


def idle(client: httpx.Client) -> bool:
    health = client.get("/health").json()
    used = re.search(r"^legato_kv_blocks_used (\S+)$", client.get("/metrics").text, re.MULTILINE)
    return not health["running"] and not health["waiting"] and used is not None and used[1] == "0.0"


def until(condition: Any) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def post(client: httpx.Client, path: str, body: str | bytes) -> httpx.Response:
    content = body if isinstance(body, bytes) else body.encode()
    return client.post(path, content=content, headers={"Content-Type": "application/json"})


def assert_refused(response: httpx.Response, status: int, param: str | None) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert not LEAK.search(response.text), response.text
