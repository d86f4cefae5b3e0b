"""Many requests, greedy callers, readers that leave or do not read, and what is left afterwards."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cases.bodies import ALL, CHAT, COMPLETIONS, EMBEDDINGS, GENERATE, GOOD, LIMIT, RESPONSES
from cases.world import LIMIT_S, NEIGHBOUR, World, ask, check_alive, check_refused, text_of
from legato.server.run import connections
from legato.server.settings import ServerSettings
from server.asgi_client import JSON
from server.live_server import LiveServer


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
