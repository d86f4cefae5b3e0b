"""The log: one line a record whatever a caller sends, and no prompt unless it is asked for."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service

from legato.server.app import create_app
from legato.server.log import configure_logging, fields
from legato.server.settings import ServerSettings

CHAT = "/v1/chat/completions"
FORGED = "a\r\n2026-01-01 ERROR forged\x1b[31m %s ü"
logger = logging.getLogger("legato.server")


@pytest.fixture(autouse=True)
def _restored_loggers() -> Iterator[None]:
    own, calls = logging.getLogger("legato"), logging.getLogger("legato.calls")
    kept = (own.handlers[:], own.propagate, own.level, calls.level)
    yield
    own.handlers[:], own.propagate = kept[0], kept[1]
    own.setLevel(kept[2])
    calls.setLevel(kept[3])


def logged(settings: ServerSettings, chat_body: dict | None = None) -> list[str]:
    stream = io.StringIO()
    configure_logging(settings, stream)
    client = AsgiClient(create_app(make_service(FakeSource()), settings))
    if chat_body is not None:
        client.post(CHAT, chat_body)
    return stream.getvalue().splitlines()


def test_a_call_is_one_json_line_with_its_id_and_figures(chat_body):
    settings = ServerSettings(log_calls=True, log_format="json")
    (line,) = logged(settings, {**chat_body, "user": FORGED})
    assert line.isascii()
    record = json.loads(line)
    assert record["logger"] == "legato.calls"
    assert record["user"] == FORGED
    assert record["request_id"]
    assert (record["status"], record["outcome"]) == (200, "ok")
    assert record["prompt_tokens"] > 0
    assert record["output_tokens"] > 0
    assert record["duration_ms"] >= record["ttft_ms"] >= 0


def test_a_call_is_one_text_line_too(chat_body):
    settings = ServerSettings(log_calls=True)
    (line,) = logged(settings, {**chat_body, "user": FORGED})
    assert line.isprintable()
    assert "INFO legato.calls call" in line
    assert '"a\\r\\n2026-01-01 ERROR forged' in line


def test_calls_are_not_logged_unless_asked(chat_body):
    assert logged(ServerSettings(), chat_body) == []


def test_a_prompt_is_in_the_log_only_when_asked(chat_body):
    body = {**chat_body, "messages": [{"role": "user", "content": "my secret"}]}
    (without,) = logged(ServerSettings(log_calls=True), body)
    (with_prompt,) = logged(ServerSettings(log_calls=True, log_prompts=True), body)
    assert "secret" not in without
    assert "my secret" in with_prompt


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_exception_stays_on_one_line(log_format):
    stream = io.StringIO()
    configure_logging(ServerSettings(log_format=log_format), stream)
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.exception("failed\nhere", extra=fields(request_id="r1"))
    (line,) = stream.getvalue().splitlines()
    assert line.isprintable()
    assert "ValueError" in line
    assert "r1" in line


def test_records_below_the_level_are_left_out():
    stream = io.StringIO()
    configure_logging(ServerSettings(log_level="error"), stream)
    logger.warning("not this")
    logger.error("this")
    assert "not this" not in stream.getvalue()
    assert "this" in stream.getvalue()


def test_a_closed_pipe_does_not_disturb_the_server(chat_body):
    stream = io.StringIO()
    configure_logging(ServerSettings(log_calls=True), stream)
    stream.close()
    client = AsgiClient(create_app(make_service(FakeSource()), ServerSettings()))
    assert client.post(CHAT, chat_body).status == 200


def test_a_blocked_pipe_does_not_disturb_the_server(chat_body, monkeypatch):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        configure_logging(ServerSettings(log_calls=True))
        client = AsgiClient(create_app(make_service(FakeSource()), ServerSettings()))
        for _ in range(3):
            assert client.post(CHAT, chat_body).status == 200
        for number in range(300):  # more than a pipe holds, and nobody reads it
            logger.error("x" * 1000, extra=fields(number=number))
        assert client.post(CHAT, chat_body).status == 200
        lines = [reader.readline() for _ in range(303)]
        assert sum(b"endpoint" in line for line in lines) == 3
        assert [b"number=%d" % n in line for n, line in enumerate(lines[3:])] == [True] * 300
        logging.getLogger("legato").handlers[0].close()
