import asyncio
from hashlib import sha256

import pytest
from asgi_client import JSON, AsgiClient
from fake_source import FakeSource, make_service

from legato.clock import VirtualClock
from legato.core import NOBODY, Tenant
from legato.errors import LegatoError
from legato.server.app import create_app
from legato.server.keys import KeyLimits, KeyRing, make_key, read_keys
from legato.server.settings import ServerSettings

CHAT, TOKENIZE = "/v1/chat/completions", "/tokenize"
SECOND_NS = 1_000_000_000


class Limited:
    """A server with one key of such limits, in virtual time."""

    def __init__(self, path, **limits):
        self.key = make_key(path, "alice", KeyLimits(**limits))
        self.source, self.clock = FakeSource(), VirtualClock()
        service = make_service(self.source, clock=self.clock)
        self.client = AsgiClient(create_app(service, ServerSettings(api_key_file=str(path))))
        self.header = (b"authorization", b"Bearer " + self.key.encode())

    def ask(self, path=CHAT, **fields):
        body = {"messages": [{"role": "user", "content": "hi"}], **fields}
        return self.client.post(path, body if path == CHAT else {"prompt": "x"}, self.header)

    def metrics(self):
        return self.client.get("/metrics", self.header).body.decode()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.toml"


def test_a_key_is_kept_as_its_hash_in_a_private_file(path):
    key = make_key(path, "alice", KeyLimits(concurrent=2))
    other = make_key(path, "bob", KeyLimits())
    text = path.read_text()
    assert key != other
    assert len(key) > 40
    assert key not in text
    assert sha256(key.encode()).hexdigest() in text
    assert path.stat().st_mode & 0o077 == 0
    alice, bob = read_keys(path)
    assert (alice.name, alice.limits, bob.name) == ("alice", KeyLimits(concurrent=2), "bob")
    assert KeyRing([alice, bob]).find(b"Bearer " + key.encode()) == alice
    assert KeyRing([alice, bob]).find(b"Bearer " + other.encode()) == bob


@pytest.mark.parametrize("name", ["alice", "", "a b", "a.b", "x" * 65, "ü", 'a"]\n[b'])
def test_a_name_that_is_taken_or_no_name_is_refused(path, name):
    make_key(path, "alice", KeyLimits())
    before = path.read_text()
    with pytest.raises(LegatoError):
        make_key(path, name, KeyLimits())
    assert path.read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[a]", 'a = "x"', '[a]\nsha256 = "00"', "[a]\nsha256 = 5"),
        *(f'[a]\nsha256 = "{"0" * 64}"\n{rest}' for rest in (
            "concurrent = -1", "concurrent = 1.5", "concurrent = true", "per_day = 1",
        )),
        f'["a b"]\nsha256 = "{"0" * 64}"',
    ],
)  # fmt: skip
def test_a_file_that_is_not_one_of_keys_is_refused_whole(path, text):
    path.write_text(text)
    with pytest.raises(LegatoError):
        read_keys(path)
    with pytest.raises(LegatoError):
        create_app(make_service(FakeSource()), ServerSettings(api_key_file=str(path)))


def test_a_missing_file_is_refused(path):
    with pytest.raises(LegatoError, match="cannot read"):
        read_keys(path)


def test_requests_per_minute(path):
    server = Limited(path, requests_per_minute=2)
    assert [server.ask().status for _ in range(3)] == [200, 200, 429]
    refused = server.ask(TOKENIZE)
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "30"
    server.clock.advance(30 * SECOND_NS)
    assert [server.ask().status for _ in range(2)] == [200, 429]
    assert 'legato_key_requests_total{key="alice"} 3.0' in server.metrics()
    assert 'legato_key_refused_total{key="alice",reason="requests"} 3.0' in server.metrics()


def test_tokens_per_minute_are_paid_off_before_the_next_request(path):
    server = Limited(path, tokens_per_minute=60)
    first = server.ask().json()["usage"]["total_tokens"]
    rounds = 1
    while server.ask().status == 200:
        rounds += 1
    used = rounds * first
    assert used >= 60
    wait = used - 60 + 1
    server.clock.advance((wait - 1) * SECOND_NS)
    assert server.ask().status == 429
    server.clock.advance(SECOND_NS)
    assert server.ask().status == 200
    assert (
        f'legato_key_output_tokens_total{{key="alice"}} {(rounds + 1) * 13}.0' in server.metrics()
    )


def test_one_call_too_many_at_the_same_time_is_refused(path):
    server = Limited(path, concurrent=1)

    async def scenario():
        reached, release = asyncio.Event(), asyncio.Event()

        async def hang(number):
            reached.set()
            await release.wait()

        server.source.before = hang
        body = b'{"messages": [{"role": "user", "content": "hi"}]}'
        calls = [server.client.call("POST", CHAT, body, [JSON, server.header]) for _ in range(2)]
        first = asyncio.create_task(calls[0].run())
        await reached.wait()
        assert (await calls[1].run()).status == 429
        release.set()
        assert (await first).status == 200

    asyncio.run(scenario())
    assert server.ask().status == 200


def test_one_key_does_not_use_up_another(path):
    server = Limited(path, requests_per_minute=1)
    other = make_key(path, "bob", KeyLimits(requests_per_minute=1))
    service = make_service(server.source, clock=server.clock)
    client = AsgiClient(create_app(service, ServerSettings(api_key_file=str(path))))
    for key in (server.key, other):
        header = (b"authorization", b"Bearer " + key.encode())
        assert client.post(TOKENIZE, {"prompt": "x"}, header).status == 200
        assert client.post(TOKENIZE, {"prompt": "x"}, header).status == 429
        assert client.get("/v1/models", header).status == 200


def test_a_key_is_the_tenant_of_what_it_asks(path, client, source):
    server = Limited(path, weight=3)
    assert server.ask().status == 200
    embed = {"input": "a"}
    assert server.client.post("/v1/embeddings", embed, server.header).status == 200
    echo = {"prompt": "ab", "echo": True, "logprobs": 1, "max_tokens": 1}
    assert server.client.post("/v1/completions", echo, server.header).status == 200
    asked = [request.tenant for request in server.source.requests] + server.source.tenants
    assert asked == [Tenant("alice", 3)] * 4
    client.post("/v1/embeddings", embed)
    assert source.tenants == [NOBODY]
    assert Limited(path.with_name("plain.toml")).ask().status == 200
