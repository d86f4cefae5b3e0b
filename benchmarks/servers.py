"""The servers that `serving.py` compares: how each is started, and when it is ready."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from legato.bench.endpoint import Endpoint, first_model
from legato.models.hub import resolve_model

READY_S = 240.0


class ServerError(Exception):
    """A server did not start; the message is the end of what it said."""


@dataclass(frozen=True)
class Server:
    """One server in one configuration."""

    label: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


def present_servers(arguments: argparse.Namespace) -> list[Server]:
    """The servers that are wanted and installed; the others are named on stderr."""
    servers = [server for server in known_servers(arguments) if server.label in arguments.servers]
    for server in servers:
        if not Path(server.command[0]).exists():
            print(f"skipped: {server.label} (no {server.command[0]})", file=sys.stderr)
    return [server for server in servers if Path(server.command[0]).exists()]


def known_servers(arguments: argparse.Namespace) -> list[Server]:
    """Every server that the command line describes, each in its best configuration."""
    model = resolve_model(arguments.model)
    port, threads = str(arguments.port), str(arguments.threads)
    own = [sys.executable, "-m", "legato", "serve", "-m", str(model), "--port", port]
    own += ["--num-threads", threads, "--no-prefix-cache", "--ttft-ms", "1000", "--tbt-ms", "50"]
    # A refusal counts as a miss: refuse only who would miss. A first token 0.1 s late misses 2 of
    # 65 deadlines, which is fluid.
    own += ["--patience", "1.1"]
    return [
        Server("legato", own),
        llama_server(arguments.llama_server, arguments.llama_file or model, port, threads),
        vllm_server(arguments.vllm_python, arguments.vllm_folder, port, int(threads)),
    ]


def llama_server(binary: Path, file: Path, port: str, threads: str) -> Server:
    """llama.cpp's server: 32 slots, flash attention, no reuse of prompts."""
    command = [str(binary), "-m", str(file), "--host", "127.0.0.1", "--port", port]
    command += ["-t", threads, "-tb", threads, "-np", "32", "-c", str(32 * 1024), "-fa", "on"]
    return Server("llama-server", [*command, "--no-cache-prompt", "--cache-ram", "0"])


def vllm_server(python: Path, folder: Path, port: str, threads: int) -> Server:
    """vLLM's OpenAI server on the CPU, bf16 weights."""
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--dtype", "bfloat16", "--max-model-len", "1024", "--max-num-seqs", "32"]
    command += ["--no-enable-prefix-caching", "--port", port, "--host", "127.0.0.1"]
    environment = {
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_CPU_OMP_THREADS_BIND": f"0-{threads - 1}",
        "HF_HUB_OFFLINE": "1",
    }
    return Server("vllm", command, environment)


@contextmanager
def running(server: Server, port: int) -> Iterator[Endpoint]:
    """The server's endpoint while it runs."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise ServerError(f"somebody else listens on port {port}")
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            server.command, stdout=said, stderr=said, env={**os.environ, **server.environment}
        )
        try:
            url = f"http://127.0.0.1:{port}"
            if not is_ready(url, process):
                said.seek(0)
                raise ServerError(said.read()[-1000:].decode(errors="replace"))
            endpoint = Endpoint(url=url, extra={"ignore_eos": True})
            yield Endpoint(url=url, model=first_model(endpoint), extra=endpoint.extra)
        finally:
            process.terminate()
            process.wait()


def is_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait until the server lists its models; false when it ends first or takes too long."""
    until = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{url}/v1/models", timeout=5.0).status_code == 200:
                return True
        except httpx.HTTPError:
            pass  # not listening yet
        time.sleep(0.25)
    return False
