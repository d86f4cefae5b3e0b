"""The table of bad inputs against the app, with all five oracles on every entry point.

O1 the status and OpenAI's error object; O2 a neighbour's text as it is alone; O3 blocks, requests,
files and threads are given back; O4 the next good request is answered, /health tells of progress;
O5 nothing of the inside in a body.
"""

from __future__ import annotations

import json
import socket

import pytest

from cases.bodies import ALL, CHAT, COMPLETIONS, GENERATE, GOOD, HEAVY, cases, with_field
from cases.world import NEIGHBOUR, check_alive, check_refused, text_of
from server.asgi_client import JSON


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in a request may make the server call anybody."""

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError(f"a connection was tried: {arguments}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.parametrize("case", list(cases()), ids=lambda c: f"{c.numbers} {c.path} {c.name}")
def test_a_bad_input_is_refused_and_harms_nobody(world, alone, case):
    before = world.rest()
    answer, text = world.beside_a_neighbour(world.client.call("POST", case.path, case.body, [JSON]))
    check_refused(answer, case.param)
    assert text == alone
    assert world.rest() == before
    (good,) = world.run(world.client.start_post(case.path, GOOD[case.path]))
    assert good.status == 200, good.body
    check_alive(world)


HEAVY_CASES = [
    pytest.param(path, field, value, id=f"{numbers} {path} {field} {place}")
    for field, (numbers, values) in HEAVY.items()
    for place, value in enumerate(values)
    for path in (CHAT, COMPLETIONS)
]


@pytest.mark.parametrize(("path", "field", "value"), HEAVY_CASES)
def test_a_heavy_form_is_served_or_refused_and_harms_nobody(world, alone, path, field, value):
    before = world.rest()
    call = world.client.call("POST", path, with_field(path, field, value), [JSON])
    neighbour = world.client.start_post(COMPLETIONS, NEIGHBOUR)
    answer, streamed = world.run(call, neighbour)
    if answer.status != 200:
        check_refused(answer, field)
    assert text_of(streamed) == alone
    assert world.rest() == before
    check_alive(world)


@pytest.mark.parametrize("path", GENERATE)
@pytest.mark.parametrize("field", ["temperature", "stop", "seed"])
def test_a_bad_input_of_a_stream_is_refused_before_it_begins(world, path, field):
    body = json.loads(with_field(path, field, "-9"))
    (answer,) = world.run(world.client.start_post(path, {**body, "stream": True}))
    check_refused(answer, field)


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
def test_a_body_of_the_wrong_kind_or_size(world, alone, path, headers, body, status):
    answer, text = world.beside_a_neighbour(world.client.call("POST", path, body, headers))
    check_refused(answer, None, status)
    assert text == alone


@pytest.mark.parametrize("path", ALL)
def test_invented_models_are_not_found_and_not_counted_apart(world, path):
    def metrics() -> bytes:
        (answer,) = world.run(world.client.call("GET", "/metrics"))
        return answer.body

    metrics()
    world.run(world.client.start_post(path, {**GOOD[path], "model": "invented"}))
    before = metrics().count(b"\n")
    for number in range(20):
        body = {**GOOD[path], "model": f"invented-{number}"}
        (answer,) = world.run(world.client.start_post(path, body))
        assert check_refused(answer, "model", 404)["code"] == "model_not_found"
    assert metrics().count(b"\n") == before


@pytest.mark.parametrize("name", [b"a\r\nb\x1b[31m", b"%s%n", b"../../x", b"tcp://evil:1"])
def test_a_request_id_that_is_not_plain_is_not_sent_back(world, name):
    call = world.client.call(
        "POST", CHAT, json.dumps(GOOD[CHAT]).encode(), [JSON, (b"x-request-id", name)]
    )
    (answer,) = world.run(call)
    assert answer.headers["x-request-id"].isalnum()
