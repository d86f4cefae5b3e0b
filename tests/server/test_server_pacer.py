"""The pacer: tokens that come at once leave in the time wanted between them; none is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from itertools import count

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service

from legato.clock import RealClock
from legato.core import TokenEvent
from legato.server.app import create_app
from legato.server.pacer import paced
from legato.server.settings import ServerSettings

GAP_NS = 2_000_000
CHAT = "/v1/chat/completions"


def event(index: int, token: int) -> TokenEvent:
    return TokenEvent(request_id="a", index=index, token_id=token, time_ns=0)


async def source(
    tokens: Iterable[tuple[int, int]],
    error: Exception | None = None,
    closed: list[str] | None = None,
) -> AsyncGenerator[tuple[int, TokenEvent], None]:
    try:
        for index, token in tokens:
            yield 0, event(index, token)
            await asyncio.sleep(0)
        if error is not None:
            raise error
    finally:
        if closed is not None:
            closed.append("closed")


async def delivered(events: AsyncGenerator) -> list[tuple[int, int, int]]:
    """(sample, token, time) of each event."""
    clock = RealClock()
    async with aclosing(paced(events, clock, GAP_NS)) as released:
        return [(e.index, e.token_id, clock.now_ns()) async for _, e in released]


def test_a_burst_leaves_in_order_with_the_gap_between_its_tokens():
    items = asyncio.run(delivered(source([(0, i) for i in range(5)])))
    assert [token for _, token, _ in items] == [0, 1, 2, 3, 4]
    assert items[-1][2] - items[0][2] >= 3.5 * GAP_NS


def test_samples_do_not_wait_for_each_other():
    items = asyncio.run(delivered(source([(0, 0), (0, 1), (0, 2), (1, 9)])))
    assert [(index, token) for index, token, _ in items] == [(0, 0), (1, 9), (0, 1), (0, 2)]


def test_an_error_comes_after_the_tokens_before_it():
    tokens: list[int] = []

    async def collect() -> None:
        broken = source([(0, 1), (0, 2)], ValueError("broken"))
        async for _, e in paced(broken, RealClock(), 1):
            tokens.append(e.token_id)

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(collect())
    assert tokens == [1, 2]


def test_closing_early_closes_the_source_at_once():
    async def leave() -> list[str]:
        closed: list[str] = []
        endless = source(((0, i) for i in count()), None, closed)
        async with aclosing(paced(endless, RealClock(), 10**12)) as released:
            async for _ in released:
                break
        return closed

    assert asyncio.run(leave()) == ["closed"]


def client_and_body(stream: bool = True, **legato: object) -> tuple[AsgiClient, dict]:
    client = AsgiClient(create_app(make_service(FakeSource()), ServerSettings()))
    messages = [{"role": "user", "content": "hi"}]
    return client, {"messages": messages, "stream": stream, "legato": legato}


def test_a_paced_stream_says_the_same_with_the_gap_between_its_tokens():
    client, body = client_and_body(pace=True, timing=True, slo={"tbt_ms": 2})
    events = client.post(CHAT, body).events()
    texts = [e["choices"][0]["delta"].get("content") or "" for e in events[:-1] if e["choices"]]
    assert "".join(texts) == FakeSource.reply
    (times,) = [e["legato"] for e in events[:-1] if e.get("legato")]
    stamps = times["timing"]["choices"][0]["delivery_ms"]
    assert stamps[-1] - stamps[0] >= 1.9 * (len(stamps) - 1)


def test_an_answer_that_is_no_stream_has_no_pace():
    client, body = client_and_body(stream=False, pace=True, slo={"tbt_ms": 3_600_000})
    assert client.post(CHAT, body).status == 200


def test_a_pace_without_a_time_between_tokens_is_refused():
    client, body = client_and_body(pace=True)
    answer = client.post(CHAT, body)
    assert (answer.status, answer.error["param"]) == (400, "legato")
    assert "tbt_ms" in answer.error["message"]
