"""A real engine behind the real app, in process: only the backend is not one.

Its tokens depend on all that a model's would depend on, so that a neighbour's text shows whether
anything of a bad input reached it.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cases.bodies import COMPLETIONS, CONTEXT, GOOD
from legato.async_engine import AsyncEngine
from legato.constrain.compiler import GrammarCompiler
from legato.server.app import create_app
from legato.server.engine_source import EngineSource
from legato.server.service import Service
from legato.server.settings import ServerSettings
from null.fake_backend import EOS, VOCAB, make_engine
from server.asgi_client import Answer, AsgiCall, AsgiClient
from server.fake_source import PlainTemplate

LIMIT_S = 20
HELD_STEP = 3
NEIGHBOUR = {**GOOD[COMPLETIONS], "max_tokens": 12, "ignore_eos": True, "seed": 7, "stream": True}
LEAK = re.compile(rb"0x[0-9a-f]{6,}|Traceback|\.py\b|/home/|/usr/|/tmp/|/root/|ValidationError")


class AsciiTokenizer:
    """Token i is the character 32 + i; the end of a sequence stands for an apostrophe."""

    vocab_size = VOCAB
    bos_id = None
    eos_ids = frozenset({EOS})
    special_ids = frozenset({EOS})
    strips_space = False

    def __init__(self) -> None:
        self.threads: list[int] = []

    def least_tokens(self, text: str) -> int:
        return len(text)

    def special_spans(self, text: str) -> list[tuple[int, int]]:
        return []

    def encode(
        self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True
    ) -> list[int]:
        self.threads.append(threading.get_ident())
        known = range(32, 32 + VOCAB - 2)
        ids = [ord(char) - 32 if ord(char) in known else VOCAB - 1 for char in text]
        return [VOCAB - 2 if i == EOS else i for i in ids]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        self.threads.append(threading.get_ident())
        kept = [i for i in ids if i != EOS or not skip_special_tokens]
        return "".join(map(self.token_text, kept))

    def token_text(self, token_id: int) -> str:
        return self.token_bytes(token_id).decode()

    def token_bytes(self, token_id: int) -> bytes:
        return {EOS: b"<eos>", VOCAB - 2: b"'", VOCAB - 1: b"\n"}.get(token_id) or bytes(
            [32 + token_id]
        )


class World:
    """One server, its loop, and a client. `backend` is what computes the tokens."""

    def __init__(
        self, settings: ServerSettings | None = None, *, max_waiting: int = 512, **config: Any
    ) -> None:
        options = {"max_context": CONTEXT, "num_kv_blocks": 600, **config}
        self.sync, self.backend = make_engine(**options)
        self.backend.keep_steps = False
        self.tokenizer = AsciiTokenizer()
        self.engine = AsyncEngine(self.sync, self.sync._clock, max_waiting=max_waiting)
        self.client = AsgiClient(create_app(self._service(), settings or ServerSettings()))
        self.gate, self._hold_at = threading.Event(), 1 << 62
        self.backend.fault = self._wait
        self.runner = asyncio.Runner()

    def _service(self) -> Service:
        return Service(
            model="tiny",
            source=EngineSource(self.engine),
            tokenizer=self.tokenizer,
            template=PlainTemplate(),
            grammars=GrammarCompiler(self.tokenizer),
            max_context=self.engine.max_context,
            created=1_700_000_000,
        )

    def __enter__(self) -> Self:
        self.engine.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.gate.set()
        self.engine.stop()
        self.runner.close()

    def run(self, *calls: AsgiCall) -> list[Answer]:
        """All at once."""
        return self.runner.run(self._gather(calls))

    def beside_a_neighbour(self, call: AsgiCall) -> tuple[Answer, str]:
        """The answer to `call`, given while a stream is half-way, and the text of the stream."""
        return self.runner.run(self._beside(call))

    def rest(self) -> tuple[int, ...]:
        """What must be the same after every case: blocks, requests, tasks, open files."""
        self.runner.run(self._idle())
        stats = self.sync.stats()
        self.sync.check_integrity()
        return (
            stats.used_blocks,
            stats.running,
            stats.waiting,
            len(self.engine._streams) + len(self.engine._leaving) + len(self.engine._jobs),
            len(list(Path("/proc/self/fd").iterdir())),
            threading.active_count() - _pool_threads(),
        )

    async def _gather(self, calls: Sequence[AsgiCall]) -> list[Answer]:
        async with asyncio.timeout(LIMIT_S):
            return list(await asyncio.gather(*(call.run() for call in calls)))

    async def _beside(self, call: AsgiCall) -> tuple[Answer, str]:
        self.gate.clear()
        self._hold_at = self.backend.runs + HELD_STEP
        neighbour = self.client.start_post(COMPLETIONS, NEIGHBOUR)
        async with asyncio.timeout(LIMIT_S):
            running = asyncio.create_task(neighbour.run())
            await neighbour.arrived.wait()
            asked = len(self.engine._streams)
            answer = await call.run()
            assert len(self.engine._streams) == asked, "the engine was asked"
            self._hold_at = 1 << 62
            self.gate.set()
            return answer, text_of(await running)

    async def _idle(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.engine._inbox or self.engine._leaving or self.sync.has_work or _compiles():
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)

    def _wait(self, run: int) -> None:
        if run >= self._hold_at:
            assert self.gate.wait(LIMIT_S)


def _compiles() -> bool:
    return any(thread.name == "legato-grammar" for thread in threading.enumerate())


def _pool_threads() -> int:
    """Threads of the event loop's pool, which stay."""
    return sum(thread.name.startswith("asyncio_") for thread in threading.enumerate())


def ask(world: World, path: str, body: dict[str, Any]) -> Answer:
    """The answer to a call that runs by itself."""
    (answer,) = world.run(world.client.start_post(path, body))
    return answer


def text_of(answer: Answer) -> str:
    """The text of a completion, streamed or not."""
    assert answer.status == 200, answer.body[:300]
    if answer.headers["content-type"].startswith("application/json"):
        return str(answer.json()["choices"][0]["text"])
    events = answer.events()
    assert events[-1] == "[DONE]", events[-1]
    return "".join(event["choices"][0]["text"] for event in events[:-1])


def check_refused(answer: Answer, param: str | None, status: int = 400) -> dict[str, Any]:
    """Oracles 1 and 5: the status, OpenAI's error object, nothing of the inside."""
    assert answer.status == status, answer.body[:500]
    assert answer.headers["content-type"] == "application/json"
    document: dict[str, dict[str, Any]] = json.loads(answer.body.decode())
    error = document["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert status >= 500 or error["type"].endswith("_error")
    assert param is None or (error["param"] or "").startswith(param), error
    assert not LEAK.search(answer.body), answer.body
    assert len(answer.body) < 2000
    return error


def check_alive(world: World) -> None:
    """Oracle 4: /health tells of progress, and nothing is left over."""
    (health,) = world.run(world.client.call("GET", "/health"))
    document = health.json()
    assert (health.status, document["status"]) == (200, "ok")
    assert {"last_step_age_s", "oldest_waiting_s"} <= document.keys()
