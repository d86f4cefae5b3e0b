"""Cases that are more than one bad body: values that work, limits, load, and readers that leave."""

from __future__ import annotations

import ast
import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

import legato
from cases.bodies import (
    ALL,
    CHAT,
    COMPLETIONS,
    CONTEXT,
    DETOKENIZE,
    EMBEDDINGS,
    GENERATE,
    GOOD,
    RESPONSES,
    TOKENIZE,
)
from cases.world import LIMIT_S, NEIGHBOUR, World, check_alive, check_refused, text_of
from legato.server.extension import LegatoOptions
from legato.server.openapi import BODIES
from legato.server.run import connections
from legato.server.settings import ServerSettings
from server.asgi_client import JSON
from server.live_server import LiveServer

LIMIT = {CHAT: "max_tokens", COMPLETIONS: "max_tokens", RESPONSES: "max_output_tokens"}


def ask(world: World, path: str, body: dict[str, Any]) -> Any:
    (answer,) = world.run(world.client.start_post(path, body))
    return answer


WORKS = [
    *(("A1", path, {"n": 3}) for path in (CHAT, COMPLETIONS)),
    ("A2", COMPLETIONS, {"max_tokens": 0, "echo": True}),
    *(("A3", path, {LIMIT[path]: 1_000_000}) for path in GENERATE),
    *(("A5", path, {"temperature": 0}) for path in GENERATE),
    *(("A7", path, {"top_k": 98}) for path in GENERATE),
    *(("A8", path, {"frequency_penalty": 2, "presence_penalty": -2}) for path in GENERATE),
    *(("A12", path, {"logit_bias": {"96": 100, "0": -100}}) for path in GENERATE),
    *(("A18", path, {"seed": seed}) for path in GENERATE for seed in (None, 0, 2**64 - 1)),
    ("B1", TOKENIZE, {"prompt": ""}),
    ("B1", DETOKENIZE, {"tokens": []}),
    ("B3", COMPLETIONS, {"prompt": [65] * (CONTEXT - 1)}),
    ("B3", EMBEDDINGS, {"input": [65] * CONTEXT}),
    ("B7", CHAT, {"messages": [{"role": "user", "content": "\U0001f600"}]}),
    *(("B7", path, {"prompt": "\U0001f600"}) for path in (COMPLETIONS, TOKENIZE)),
    *(("B7", path, {"input": "\U0001f600"}) for path in (RESPONSES, EMBEDDINGS)),
    *(("C15", path, {"cache_salt": "a"}) for path in GENERATE),
]


@pytest.mark.parametrize(("case", "path", "fields"), WORKS, ids=lambda v: str(v)[:40])
def test_a_value_at_the_edge_works_and_harms_nobody(world, alone, case, path, fields):
    call = world.client.start_post(path, {**GOOD[path], **fields})
    answer, neighbour = world.run(call, world.client.start_post(COMPLETIONS, NEIGHBOUR))
    assert answer.status == 200, answer.body
    assert text_of(neighbour) == alone
    assert world.rest()[:4] == (0, 0, 0, 0)


@pytest.mark.parametrize("path", ALL)
def test_a19_null_everywhere_is_the_default(world, path):
    names = BODIES[path].model_fields
    body = {name: None for name in names if name not in GOOD[path]} | GOOD[path]
    assert ask(world, path, body).status == 200


INTEGERS = (-(2**63), -1, 0, 1, 2**31, 2**63)


def integer_fields(path: str) -> list[str]:
    properties = BODIES[path].model_json_schema()["properties"]
    kinds = {name: schema.get("anyOf", [schema]) for name, schema in properties.items()}
    return [
        name for name, options in kinds.items() if any(o.get("type") == "integer" for o in options)
    ]


@pytest.mark.parametrize("path", GENERATE)
def test_a20_every_integer_is_honoured_or_refused_by_name(world, path):
    fields = integer_fields(path)
    assert len(fields) >= 6
    for field in fields:
        for value in INTEGERS:
            body = {name: item for name, item in GOOD[path].items() if name != LIMIT[path]}
            answer = ask(world, path, {**body, "stop": "a", field: value})
            if answer.status != 200:
                check_refused(answer, field)
    check_alive(world)


def numbers_within(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all numeric members of a model and of the models in it."""
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from numbers_within(kind, (*path, name))
            elif kind in (int, float):
                yield (*path, name)


@pytest.mark.parametrize("path", GENERATE)
def test_a20_every_number_of_our_own_is_honoured_or_refused_by_its_path(world, path):
    members = list(numbers_within(LegatoOptions))
    assert len(members) >= 6
    for member in members:
        for value in INTEGERS:
            options: Any = value
            for name in reversed(member):
                options = {name: options}
            answer = ask(world, path, {**GOOD[path], "legato": options})
            if answer.status != 200:
                check_refused(answer, "legato")
    assert world.rest()[:4] == (0, 0, 0, 0)
    check_alive(world)


def test_a18_a_seed_gives_the_same_text_in_any_batch(world):
    body = {**GOOD[COMPLETIONS], "seed": 5, "max_tokens": 20, "ignore_eos": True}
    expected = text_of(ask(world, COMPLETIONS, body))
    others = [world.client.start_post(CHAT, {**GOOD[CHAT], "n": 2}) for _ in range(4)]
    calls = [*others, *(world.client.start_post(COMPLETIONS, body) for _ in range(4))]
    assert {text_of(answer) for answer in world.run(*calls)[4:]} == {expected}


def test_b4_a_prompt_that_never_fits_the_pool_is_refused_at_once():
    with World(num_kv_blocks=20) as world:
        alone = text_of(ask(world, COMPLETIONS, NEIGHBOUR))
        body = {**GOOD[COMPLETIONS], "prompt": [65] * 500}
        for path, long in ((COMPLETIONS, body), (CHAT, chat_of("x" * 500))):
            answer, text = world.beside_a_neighbour(world.client.start_post(path, long))
            assert check_refused(answer, None)["code"] == "never_fits"
            assert text == alone
        assert ask(world, COMPLETIONS, GOOD[COMPLETIONS]).status == 200


def chat_of(text: str) -> dict[str, Any]:
    return {**GOOD[CHAT], "messages": [{"role": "user", "content": text}]}


LONG: dict[str, dict[str, Any]] = {
    CHAT: chat_of("a" * 900),
    COMPLETIONS: {**GOOD[COMPLETIONS], "prompt": ["a" * 900] * 3},
    RESPONSES: {**GOOD[RESPONSES], "input": "a" * 900},
    EMBEDDINGS: {"input": "a" * 900},
    TOKENIZE: {"prompt": "a" * 900_000},
    DETOKENIZE: {"tokens": [65] * 900_000},
}


@pytest.mark.parametrize("path", LONG)
def test_b6_long_texts_are_tokenised_off_the_event_loop(world, path):
    world.tokenizer.threads.clear()
    assert ask(world, path, LONG[path]).status == 200
    first = world.tokenizer.threads[0]
    assert first != threading.get_ident()  # the loop runs in this thread


@pytest.mark.parametrize("path", GENERATE)
def test_d11_many_unique_schemas_harm_nobody(world, alone, path):
    for number in range(12):
        schema = {"type": "object", "properties": {f"a{number}": {"type": "integer"}}}
        form = {"name": "x", "schema": schema}
        fields: dict[str, Any] = {"text": {"format": {"type": "json_schema", **form}}}
        if path != RESPONSES:
            fields = {"response_format": {"type": "json_schema", "json_schema": form}}
        call = world.client.start_post(path, {**GOOD[path], **fields})
        answer, neighbour = world.run(call, world.client.start_post(COMPLETIONS, NEIGHBOUR))
        assert answer.status == 200, answer.body
        assert text_of(neighbour) == alone
    assert world.rest()[:4] == (0, 0, 0, 0)


def test_e3_nothing_in_the_package_can_run_what_it_reads():
    forbidden = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "marshal", "shelve", "dill", "joblib", "torch"}
    for path in Path(legato.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in forbidden, path
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not modules & {name.split(".")[0] for name in names}, path


async def gathered(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    async with asyncio.timeout(LIMIT_S):
        return list(await asyncio.gather(*tasks))


@pytest.mark.parametrize("path", GENERATE)
def test_i2_the_queue_takes_requests_whole_and_refuses_the_rest_with_a_time(path):
    with World(max_waiting=2, max_sequences=1) as world:
        world.gate.clear()
        world._hold_at = 2
        loop = world.runner.get_loop()
        running = loop.create_task(world.client.start_post(COMPLETIONS, NEIGHBOUR).run())
        world.runner.run(until(lambda: world.backend.runs == 2))
        last = [{**GOOD[path], **({} if path == RESPONSES else {"n": 2})} for _ in range(4)]
        waiting = [loop.create_task(world.client.start_post(path, body).run()) for body in last]
        world.runner.run(until(lambda: sum(task.done() for task in waiting) == 2))
        for task in [task for task in waiting if task.done()]:
            check_refused(task.result(), None, 503)
            assert int(task.result().headers["retry-after"]) >= 1
        world._hold_at = 1 << 62
        world.gate.set()
        world.runner.run(gathered([running]))
        assert sorted(a.status for a in world.runner.run(gathered(waiting))) == [200, 200, 503, 503]
        assert world.rest()[:4] == (0, 0, 0, 0)


def with_key(world: World, key: str, body: dict[str, Any]) -> Any:
    headers = [JSON, (b"authorization", b"Bearer " + key.encode())]
    return world.client.call("POST", COMPLETIONS, json.dumps(body).encode(), headers)


def test_i4_one_key_with_many_long_requests_does_not_hold_up_another():
    with World(ServerSettings(api_keys=("hog", "small")), max_sequences=4) as world:
        world.gate.clear()
        start = world._hold_at = 5
        long = {"prompt": "x" * 400, "max_tokens": 100, "ignore_eos": True, "seed": 1}
        loop = world.runner.get_loop()
        hog = [loop.create_task(with_key(world, "hog", long).run()) for _ in range(40)]
        world.runner.run(until(lambda: world.backend.runs == start))
        seen: list[int] = []

        async def short() -> int:
            answer = await with_key(world, "small", GOOD[COMPLETIONS]).run()
            seen.append(world.backend.runs)
            return int(answer.status)

        small = [loop.create_task(short()) for _ in range(3)]
        world.runner.run(until(lambda: len(world.engine._unseen) >= 3))
        world._hold_at = 1 << 62
        world.gate.set()
        assert world.runner.run(gathered(small)) == [200] * 3
        assert not any(task.done() for task in hog)
        statuses = {answer.status for answer in world.runner.run(gathered(hog))}
        assert statuses == {200}
        assert max(seen) < start + 100 < world.backend.runs / 5  # all take over a thousand


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


ENDLESS = {"ignore_eos": True, "seed": 1}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", GENERATE)
@pytest.mark.parametrize("step", [1, 2, 9])
def test_a_vanished_reader_takes_part_in_no_further_step(world, path, stream, step):
    """Its blocks are back one step after it was noticed: the one that was under way."""
    world.gate.clear()
    last = world._hold_at = world.backend.runs + step
    body = {**GOOD[path], **ENDLESS, LIMIT[path]: 400, "stream": stream}
    call = world.client.start_post(path, body)

    async def leave() -> None:
        running = asyncio.create_task(call.run())
        await until(lambda: world.backend.runs == last)
        call.gone.set()
        await running

    world.runner.run(leave())
    assert world.engine._inbox
    world._hold_at = 1 << 62
    world.gate.set()
    assert world.rest()[:4] == (0, 0, 0, 0)
    assert world.backend.runs == last


@pytest.mark.parametrize("path", GENERATE)
def test_c11_a_reader_that_takes_nothing_is_cut_off_and_its_blocks_are_back_in_two_steps(path):
    with World() as world:
        leave, cut_off_at = world.engine._leave, []

        def recorded(*which: Any) -> None:
            cut_off_at.append(world.backend.runs)
            leave(*which)
            world.gate.set()

        world.engine._leave = recorded
        world.gate.clear()
        world._hold_at = 100  # more than the buffers hold, so that it is cut off by then
        live = LiveServer(world.client.app, http=connections(ServerSettings(write_timeout=0.05)))
        live._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with live, socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", live.port))
            body = json.dumps({**GOOD[path], **ENDLESS, **WORDY[path], "stream": True}).encode()
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            wait_for(lambda: cut_off_at)
            assert world.rest()[:4] == (0, 0, 0, 0)
        assert world.backend.runs <= cut_off_at[0] + 1  # the step under way, and at most the next


WORDY: dict[str, dict[str, Any]] = {
    CHAT: {"max_tokens": 400, "logprobs": True, "top_logprobs": 20},
    COMPLETIONS: {"max_tokens": 400, "logprobs": 20},
    RESPONSES: {
        **{"max_output_tokens": 400, "top_logprobs": 20},
        "include": ["message.output_text.logprobs"],
    },
}


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_i5_after_a_mixed_crowd_everything_is_as_before(world, alone):
    before = world.rest()
    for number in range(30):
        calls = [
            world.client.start_post(path, {**GOOD[path], "seed": number} | unknown)
            for path in GENERATE
            for unknown in ({}, {"temperature": -1}, {"stream": True})
        ]
        leaving = [world.client.start_post(path, {**GOOD[path], **ENDLESS}) for path in GENERATE]
        for call in leaving:
            call.gone.set()
        world.run(*calls, *leaving, world.client.start_post(EMBEDDINGS, {"input": ["a", "b"]}))
    assert world.rest() == before
    assert text_of(ask(world, COMPLETIONS, NEIGHBOUR)) == alone
    check_alive(world)


def resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith("VmRSS")]
    return int(kib) / 1024


def test_c4_large_bodies_leave_no_memory_behind(world):
    def burst() -> None:
        for path in ALL:
            ask(world, path, {**GOOD[path], "n_batch": "x" * 2_000_000})
            ask(world, path, {**GOOD[path], "user": ["y"] * 100_000})

    burst()
    before = resident_mib()
    for _ in range(3):
        burst()
    assert resident_mib() - before < 32
