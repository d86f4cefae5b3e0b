"""What a client can do to a connection below HTTP: dawdle, flood, send nonsense, never read."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from fake_source import FakeSource, make_service
from live_server import LiveServer

from legato.server.app import create_app
from legato.server.connection import MAX_HEAD
from legato.server.run import connections, listen
from legato.server.settings import ServerSettings

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@contextmanager
def served(source: FakeSource | None = None, **settings: float) -> Iterator[LiveServer]:
    chosen = ServerSettings(**settings)
    app = create_app(make_service(source or FakeSource(), max_context=300_000), chosen)
    limits = {"h11_max_incomplete_event_size": MAX_HEAD}
    with LiveServer(app, http=connections(chosen), **limits) as server:
        yield server


def connect(server: LiveServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def everything(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    data = b""
    while True:
        try:
            part = client.recv(65536)
        except ConnectionResetError:
            return data
        if not part:
            return data
        data += part


def refusal(answer: bytes) -> tuple[int, dict[str, str]]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head.split()[1]), json.loads(body)["error"]


def test_a_head_that_never_ends_is_refused_however_it_drips():
    with served(head_timeout=0.05) as server, connect(server) as client:
        client.setblocking(False)
        client.send(HEAD)
        answer = b""
        while not answer:
            try:
                answer = client.recv(65536)
            except BlockingIOError:
                client.send(b"X-More: 1\r\n")
                time.sleep(0.005)  # a slow client is what this is about
        status, error = refusal(answer)
    assert status == 408
    assert error["code"] == "timeout"


def test_a_client_that_says_nothing_is_let_go():
    with served(head_timeout=0.05) as server, connect(server) as client:
        assert everything(client) == b""


def test_a_client_that_says_no_more_after_an_answer_is_let_go():
    with served(head_timeout=0.05) as server, connect(server) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert everything(client).startswith(b"HTTP/1.1 200")


def test_a_body_that_drips_on_after_its_refusal_is_cut_off():
    with served(head_timeout=0.05, body_timeout=0.05) as server, connect(server) as client:
        client.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        assert everything(client).startswith(b"HTTP/1.1 408")


def test_a_stream_outlives_the_deadline_for_heads():
    with served(head_timeout=0.01) as server, connect(server) as client:
        body = json.dumps(CHAT).encode()
        client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert b"[DONE]" in everything(client)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (HEAD + b"X-Big: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
        (HEAD + b"X-Many: 1\r\n" * 100_000 + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n{}", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_is_refused_in_the_words_of_the_api(request_bytes, status):
    with served() as server, connect(server) as client:
        with suppress(ConnectionError):  # it does not read what it will not answer
            client.sendall(request_bytes)
        answer = everything(client)
        if answer:  # a reset may overtake it
            code, error = refusal(answer)
            assert code == status
            assert error["type"] == "invalid_request_error"
        with connect(server) as other:
            other.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert everything(other).startswith(b"HTTP/1.1 200")


def test_a_reader_that_takes_nothing_is_cut_off():
    source = FakeSource(reply="x" * 200_000)
    with served(source, write_timeout=0.1) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        with client:
            body = json.dumps({**CHAT, "max_tokens": 200_000}).encode()
            client.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            while not source.closed.is_set():
                time.sleep(0.01)
        assert source.cancelled == [source.requests[0].id]


def test_a_token_does_not_wait_for_the_acknowledgement_of_the_one_before():
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_https_answers_and_streams():
    folder = Path(__file__).parent / "tls"
    files = {"ssl_certfile": folder / "certificate.pem", "ssl_keyfile": folder / "key.pem"}
    settings = ServerSettings()
    app = create_app(make_service(FakeSource()), settings)
    trusted = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    with (
        LiveServer(app, http=connections(settings), **files) as server,
        httpx.Client(verify=trusted, timeout=10) as client,
    ):
        url = f"https://localhost:{server.port}"
        assert client.get(f"{url}/health").status_code == 200
        answer = client.post(f"{url}/v1/chat/completions", json=CHAT)
        assert answer.text.endswith("data: [DONE]\n\n")


def answer_bytes(server: LiveServer, head: bytes, body: bytes) -> bytes:
    with connect(server) as client:
        length = b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
        client.sendall(head + length + body)
        return everything(client)


def test_the_parts_of_a_stream_are_chunks_of_http_1_1():
    with served() as server:
        answer = answer_bytes(server, HEAD, json.dumps(CHAT).encode())
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head.lower()
    sizes = []
    while not sizes or sizes[-1]:
        size, _, rest = rest.partition(b"\r\n")
        sizes.append(int(size, 16))
        part, rest = rest[: sizes[-1]], rest[sizes[-1] :]
        assert rest.startswith(b"\r\n")
        rest = rest[2:]
        assert not part or part.endswith(b"\n\n")
    assert len(sizes) > 3
    assert rest == b""


def test_a_stream_over_http_1_0_is_not_chunked_and_ends_with_the_connection():
    with served() as server:
        head = HEAD.replace(b"HTTP/1.1", b"HTTP/1.0")
        answer = answer_bytes(server, head, json.dumps(CHAT).encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


def test_many_heads_that_drip_hold_up_nobody():
    with served(head_timeout=0.3) as server, ExitStack() as stack:
        dripping = [stack.enter_context(connect(server)) for _ in range(300)]
        for client in dripping:
            client.sendall(HEAD)
        with httpx.Client(timeout=10) as client:
            url = f"http://127.0.0.1:{server.port}/v1/chat/completions"
            assert client.post(url, json=CHAT).text.endswith("data: [DONE]\n\n")
        assert {refusal(everything(client))[0] for client in dripping} == {408}
