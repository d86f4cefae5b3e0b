"""Faults below the server, clients that vanish, and what the operator sees of them."""

import asyncio
import json

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service

from legato.core import FinishReason, TokenEvent
from legato.errors import (
    CapacityError,
    EngineStoppedError,
    InvalidRequestError,
    ModelFormatError,
    OverloadedError,
)
from legato.metrics.prometheus import EngineGauges
from legato.server.app import create_app
from legato.server.service import SourceStatus
from legato.server.settings import ServerSettings

CHAT = "/v1/chat/completions"
BODIES = {
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"model": "tiny", "prompt": "hi"},
}
SECRET = "/home/someone/model.gguf at 0x7f00deadbeef"
both_ways = [pytest.param(path, stream) for path in BODIES for stream in (False, True)]


@pytest.mark.parametrize(("path", "stream"), both_ways)
@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (InvalidRequestError("bad seed", "seed"), 400, None),
        (CapacityError("can never fit"), 400, "never_fits"),
        (OverloadedError("full", 2.5), 503, "overloaded"),
        (EngineStoppedError(SECRET), 503, "engine_stopped"),
        (ModelFormatError(SECRET), 500, "internal"),
        (RuntimeError(SECRET), 500, "internal"),
        (MemoryError(SECRET), 500, "internal"),
    ],
)
def test_a_refusal_is_plain_json_with_its_status(
    client, source, path, stream, refusal, status, code
):
    source.refusal = refusal
    answer = client.post(path, {**BODIES[path], "stream": stream})
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert SECRET not in answer.body.decode()
    assert ("retry-after" in answer.headers) == (status == 503)
    source.refusal = None
    assert client.post(path, BODIES[path]).status == 200


def test_retry_after_is_rounded_up(client, source, chat_body):
    source.refusal = OverloadedError("full", 2.5)
    assert client.post(CHAT, chat_body).headers["retry-after"] == "3"


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("failure", [EngineStoppedError("x"), RuntimeError(SECRET)])
def test_a_failure_in_a_stream_becomes_its_last_event(client, source, path, failure):
    async def fail(number):
        if number == 4:
            raise failure

    source.before = fail
    answer = client.post(path, {**BODIES[path], "stream": True})
    data = answer.body.decode().rstrip("\n").split("\n\n")
    assert answer.status == 200
    assert set(json.loads(data[-1].removeprefix("data: "))) == {"error"}
    assert "[DONE]" not in answer.body.decode()
    assert SECRET not in answer.body.decode()


@pytest.mark.parametrize(
    ("reason", "code"),
    [(FinishReason.ERROR, "generation_failed"), (FinishReason.CANCELLED, "cancelled")],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_sample_that_fails_ends_its_answer(chat_body, stream, reason, code):
    class Failing(FakeSource):
        def _events(self, request):
            first = super()._events(request)[:2]
            end = TokenEvent(
                request_id=request.id,
                index=0,
                token_id=None,
                time_ns=9,
                finish_reason=reason,
                error="the step failed",
            )
            return [*first, end]

    client = AsgiClient(create_app(make_service(Failing()), ServerSettings()))
    answer = client.post(CHAT, {**chat_body, "stream": stream})
    error = answer.events()[-1]["error"] if stream else answer.error
    assert error["code"] == code
    assert answer.status == (200 if stream else {"cancelled": 503}.get(code, 500))


def test_a_source_that_ends_too_early_is_an_error(chat_body):
    class Short(FakeSource):
        def _events(self, request):
            return super()._events(request)[:3]

    client = AsgiClient(create_app(make_service(Short()), ServerSettings()))
    assert client.post(CHAT, chat_body).status == 500


def test_a_template_fault_is_the_callers(client):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "template fault"}]}
    answer = client.post(CHAT, body)
    assert (answer.status, answer.error["param"]) == (400, "messages")


@pytest.mark.parametrize(("path", "stream"), both_ways)
@pytest.mark.parametrize("place", [0, 1, 5])
def test_a_client_that_goes_away_cancels_its_request(client, source, path, stream, place):
    async def scenario():
        reached = asyncio.Event()

        async def hang(number):
            if number == place:
                reached.set()
                await asyncio.Event().wait()

        source.before = hang
        source.closed = asyncio.Event()
        call = client.start_post(path, {**BODIES[path], "stream": stream})
        running = asyncio.create_task(call.run())
        await reached.wait()
        assert source.cancelled == []
        call.gone.set()
        await running
        assert source.cancelled == [source.requests[0].id]

    asyncio.run(scenario())
    endpoint = "chat" if path == CHAT else "completions"
    metrics = client.get("/metrics").body.decode()
    assert f'legato_calls_total{{endpoint="{endpoint}",outcome="cancelled"}} 1.0' in metrics


@pytest.mark.parametrize(("path", "stream"), both_ways)
@pytest.mark.parametrize("place", [0, 3])
def test_an_answer_that_takes_too_long_ends_with_an_error(source, path, stream, place):
    async def hang(number):
        if number == place:
            await asyncio.Event().wait()

    source.before = hang
    settings = ServerSettings(request_timeout=0.05)
    client = AsgiClient(create_app(make_service(source), settings))
    answer = client.post(path, {**BODIES[path], "stream": stream})
    began = stream and place
    error = answer.events()[-1]["error"] if began else answer.error
    assert (answer.status, error["code"]) == (200 if began else 503, "request_timeout")
    assert source.cancelled == [source.requests[0].id]


def test_every_prompt_of_a_vanished_client_is_cancelled(client, source):
    async def scenario():
        waiting = []
        all_wait = asyncio.Event()

        async def hang(number):
            waiting.append(number)
            if len(waiting) == 3:
                all_wait.set()
            await asyncio.Event().wait()

        source.before = hang
        call = client.start_post("/v1/completions", {"model": "tiny", "prompt": ["a", "b", "c"]})
        running = asyncio.create_task(call.run())
        await all_wait.wait()
        call.gone.set()
        await running

    asyncio.run(scenario())
    assert sorted(source.cancelled) == sorted(request.id for request in source.requests)


def test_other_streams_go_on_while_one_hangs(client, source, chat_body):
    async def scenario():
        async def hang_first(number):
            if number == 3 and len(source.requests) == 1:
                await release.wait()

        release = asyncio.Event()
        source.before = hang_first
        slow = client.start_post(CHAT, {**chat_body, "stream": True})
        slow_task = asyncio.create_task(slow.run())
        await slow.arrived.wait()
        fast = await client.start_post(CHAT, {**chat_body, "stream": True}).run()
        assert fast.events()[-1] == "[DONE]"
        assert not slow_task.done()
        release.set()
        assert (await slow_task).events()[-1] == "[DONE]"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        (SourceStatus(), 200, "ok"),
        (SourceStatus(gauges=EngineGauges(running=1, last_step_age_s=59)), 200, "ok"),
        (SourceStatus(gauges=EngineGauges(running=1, last_step_age_s=61)), 503, "stalled"),
        (SourceStatus(gauges=EngineGauges(last_step_age_s=61)), 503, "stalled"),
        (SourceStatus(alive=False), 503, "stopped"),
    ],
)
def test_health_is_progress(client, source, state, status, word):
    source.state = state
    answer = client.get("/health")
    assert (answer.status, answer.json()["status"]) == (status, word)
    assert client.get("/ready").status == (200 if state.alive else 503)
