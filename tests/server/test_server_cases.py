"""The table of bad inputs against the app: five oracles on every entry point.

O1 the status and OpenAI's error object; O2 a neighbour's answer as it is alone; O3 nothing runs
afterwards; O4 the next good request is answered; O5 nothing of the inside in a body.
"""

import asyncio
import json
import re

import pytest
from asgi_client import JSON
from cases import ALL, CHAT, COMPLETIONS, GENERATE, GOOD, cases, with_field

LEAK = re.compile(rb"0x[0-9a-f]{6,}|Traceback|\.py\b|/home/|/usr/|/tmp/|/root/|ValidationError")
NEIGHBOUR = {"prompt": "abc", "stream": True}


def assert_refused(answer, param, statuses=(400,)):
    assert answer.status in statuses, answer.body[:500]
    assert answer.headers["content-type"] == "application/json"
    error = json.loads(answer.body.decode())["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert param is None or (error["param"] or "").startswith(param), error
    assert not LEAK.search(answer.body), answer.body
    assert len(answer.body) < 2000


@pytest.fixture
def beside_a_neighbour(client, source):
    """Run one call while a stream is half-way; the stream's text must not change."""

    async def scenario(call):
        halfway, release = asyncio.Event(), asyncio.Event()

        async def hold(number):
            if number == 5:
                halfway.set()
                await release.wait()

        source.before = hold
        neighbour = asyncio.create_task(client.start_post(COMPLETIONS, NEIGHBOUR).run())
        await halfway.wait()
        before = len(source.requests), len(source.computed)
        answer = await call.run()
        assert (len(source.requests), len(source.computed)) == before
        release.set()
        events = (await neighbour).events()
        text = "".join(event["choices"][0]["text"] for event in events[:-1])
        assert (text, events[-1]) == ("Hello, world", "[DONE]")
        source.before = None
        return answer

    return lambda call: asyncio.run(scenario(call))


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_a_bad_input_is_refused_and_harms_nobody(client, beside_a_neighbour, case):
    answer = beside_a_neighbour(client.call("POST", case.path, case.body, [JSON]))
    assert_refused(answer, case.param)
    assert client.post(case.path, GOOD[case.path]).status == 200


@pytest.mark.parametrize("path", GENERATE)
@pytest.mark.parametrize("field", ["temperature", "stop", "seed"])
def test_a_bad_input_of_a_stream_is_refused_before_it_begins(client, path, field):
    body = json.loads(with_field(path, field, "-9"))
    assert_refused(client.post(path, {**body, "stream": True}), field)


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ([(b"content-type", b"text/plain")], b"{}", 415),
        ([], b"{}", 415),
        ([JSON, (b"content-encoding", b"gzip")], b"\x1f\x8b", 415),
        ([JSON, (b"content-length", b"999999999999")], b"{}", 413),
        ([JSON], b'{"prompt": "' + b"a" * 10_000_001 + b'"}', 413),
    ],
    ids=["text", "no type", "gzip bomb", "length lie", "large"],
)
def test_a_body_of_the_wrong_kind_or_size(client, beside_a_neighbour, path, headers, body, status):
    answer = beside_a_neighbour(client.call("POST", path, body, headers))
    assert_refused(answer, None, (status,))


@pytest.mark.parametrize("path", ALL)
def test_invented_models_are_not_found_and_not_counted_apart(client, path):
    client.get("/metrics")
    client.post(path, {**GOOD[path], "model": "invented"})
    before = client.get("/metrics").body.count(b"\n")
    for number in range(20):
        answer = client.post(path, {**GOOD[path], "model": f"invented-{number}"})
        assert_refused(answer, "model", (404,))
    assert client.get("/metrics").body.count(b"\n") == before


@pytest.mark.parametrize("name", [b"a\r\nb\x1b[31m", b"%s%n", b"../../x", b"tcp://evil:1"])
def test_a_request_id_that_is_not_plain_is_not_sent_back(client, name):
    answer = client.post(CHAT, GOOD[CHAT], (b"x-request-id", name))
    assert answer.headers["x-request-id"].isalnum()
