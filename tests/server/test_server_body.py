"""What is no acceptable body, on both endpoints and in the parser itself."""

import asyncio
import json
import threading

import pytest
from asgi_client import JSON, AsgiClient
from fake_source import FakeSource, make_service
from hypothesis import given, settings
from hypothesis import strategies as st

from legato.server import refusals
from legato.server.app import create_app
from legato.server.body import parse_object
from legato.server.errors import ApiError
from legato.server.settings import ServerSettings

PATHS = ["/v1/chat/completions", "/v1/completions"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b'""',
        b'{"model": ',
        b"{} {}",
        b"{}x",
        b"{'model': 'tiny'}",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b'{"model": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b'{"n": NaN}',
        b'{"n": 1e400}',
        b'{"n": 1, "n": 1}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": ' + b'{"b":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"metadata": ' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"metadata": ' + b'{"b":' * 70 + b"1" + b"}" * 70 + b"}",
        b'{"messages": [' + b"[" * 100_000,
    ],
    ids=range(23),
)
def test_what_is_no_json_object_is_refused(client, path, body):
    answer = client.post(path, body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert "Traceback" not in answer.error["message"]


def test_a_duplicate_key_is_named(client):
    answer = client.post(PATHS[0], b'{"stop": "a", "stop": "b"}')
    assert answer.error["param"] == "stop"


def test_a_number_that_is_not_finite_is_named_wherever_it_is():
    with pytest.raises(ApiError) as caught:
        parse_object(b'{"metadata": {"a": [1, {"b": Infinity}]}}', 64)
    assert caught.value.param == "metadata"


def test_paired_surrogates_are_one_character():
    assert parse_object(b'{"a": "\\ud83c\\udfb5"}', 64) == {"a": "🎵"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), json_values))
def test_good_documents_are_read_as_they_are(document):
    assert parse_object(json.dumps(document).encode(), 64) == document


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_refused(body):
    try:
        document = parse_object(body, 64)
    except ApiError as error:
        document = {"status": error.status}
    assert isinstance(document, dict)
    assert document.get("status", 400) == 400


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "kind", [None, b"text/plain", b"application/x-www-form-urlencoded", b"application/jsonx", b""]
)
def test_only_json_bodies_are_read(client, path, kind):
    headers = [] if kind is None else [(b"content-type", kind)]
    answer = asyncio.run(client.call("POST", path, b"{}", headers).run())
    assert answer.status == 415


def test_compressed_bodies_are_not_read(client):
    answer = client.post(PATHS[0], b"\x1f\x8b", (b"content-encoding", b"gzip"))
    assert answer.status == 415


@pytest.fixture
def small() -> AsgiClient:
    return AsgiClient(create_app(make_service(FakeSource()), ServerSettings(max_body=1000)))


@pytest.mark.parametrize("length", [b"1001", b"9" * 400])
def test_a_declared_length_beyond_the_limit_is_refused_unread(small, length):
    call = small.call("POST", PATHS[0], [b"x"] * 5, [JSON, (b"content-length", length)])
    answer = asyncio.run(call.run())
    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert len(call.parts) == 5


@pytest.mark.parametrize(
    "declared", [[], [(b"content-length", b"10")], [(b"content-length", b"x")]]
)
def test_a_body_beyond_the_limit_is_refused_before_it_is_whole(small, declared):
    call = small.call("POST", PATHS[0], [b"x" * 400] * 100, [JSON, *declared])
    answer = asyncio.run(call.run())
    assert answer.status == 413
    assert len(call.parts) == 97


def test_a_body_that_does_not_arrive_times_out():
    app = create_app(make_service(FakeSource()), ServerSettings(body_timeout=0.01))
    call = AsgiClient(app).call("POST", PATHS[0], [b"{"], [JSON])
    call.parts = []
    answer = asyncio.run(call.run())
    assert answer.status == 408


def test_a_large_body_is_parsed_off_the_event_loop(client, chat_body):
    chat_body["messages"][0]["content"] = "x" * 200_000
    answer = client.post(PATHS[0], chat_body)
    assert answer.error["code"] == "context_length_exceeded"


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_large_body_is_checked_off_the_event_loop_too(client, monkeypatch, size):
    threads = []

    def check(request):
        threads.append(threading.get_ident())

    monkeypatch.setattr(refusals, "_CHECKS", (check,))
    client.post("/tokenize", {"prompt": "x" * size})
    assert (threads == [threading.get_ident()]) == (size == 10)
