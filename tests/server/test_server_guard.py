import asyncio

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service

from legato.errors import LegatoError
from legato.server.app import create_app
from legato.server.guard import OPEN_PATHS
from legato.server.keys import KeyRing, given_keys
from legato.server.lifecycle import Lifecycle
from legato.server.settings import ServerSettings

KEY = "sk-correct-horse"


def guarded(**settings) -> AsgiClient:
    return AsgiClient(create_app(make_service(FakeSource()), ServerSettings(**settings)))


def bearer(key: bytes) -> tuple[bytes, bytes]:
    return (b"authorization", b"Bearer " + key)


def all_routes():
    schema = create_app(make_service(FakeSource()), ServerSettings()).openapi()
    return [(m.upper(), p) for p, item in schema["paths"].items() for m in item]


def test_only_the_open_list_answers_without_a_key():
    client = guarded(api_keys=(KEY,))
    paths = {path for _, path in all_routes()} | {"/docs", "/openapi.json", "/nope", "/"}
    for path in paths:
        status = client.get(path).status
        assert (status == 401) == (path not in OPEN_PATHS), path
    for path in paths - OPEN_PATHS:
        assert client.post(path, {}).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "@health",
        "//health",
        "/health/",
        "/health/..",
        "/v1/..;/health",
        "/HEALTH",
        "/health?x=/ready",
        "/ready\x00",
        "",
        "http://x/health",
    ],
)
def test_paths_that_only_look_open_are_closed(path):
    assert guarded(api_keys=(KEY,)).get(path).status == 401


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"sk-correct-horsf",
        KEY[:-1].encode(),
        KEY.encode() + b"x",
        b"x" * 1_000_000,
        "ключ".encode(),
    ],
)
def test_a_wrong_key_is_refused(key):
    answer = guarded(api_keys=(KEY,)).get("/v1/models", bearer(key))
    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", KEY.encode())],
        [(b"authorization", b"Basic " + KEY.encode())],
        [bearer(KEY.encode()), bearer(b"x")],
    ],
)
def test_a_key_elsewhere_or_twice_does_not_count(headers):
    assert guarded(api_keys=(KEY,)).get("/v1/models", *headers).status == 401


@pytest.mark.parametrize("key", [KEY, "second", "ключ"])
def test_each_of_several_keys_opens(key):
    client = guarded(api_keys=(KEY, "second", "ключ"))
    assert client.get("/v1/models", bearer(key.encode())).status == 200


def test_no_key_is_kept_in_clear():
    assert KEY not in repr(vars(KeyRing(given_keys([KEY]))))


def test_an_empty_key_is_refused_at_the_start():
    with pytest.raises(LegatoError, match="empty"):
        guarded(api_keys=("good", ""))


def routes_of(router):
    """(method, path) of every route, those of included routers too."""
    for route in router.routes:
        if hasattr(route, "methods"):
            yield from ((method, route.path) for method in route.methods)
        else:
            yield from routes_of(route.original_router)


def test_every_route_of_the_app_is_closed_but_for_the_open_list():
    app = create_app(make_service(FakeSource()), ServerSettings(api_keys=(KEY,)))
    client = AsgiClient(app)
    seen = set(routes_of(app))
    assert len(seen) > 15
    for method, path in seen:
        answer = asyncio.run(client.call(method, path).run())
        assert (answer.status == 401) == (path not in OPEN_PATHS), (method, path)


ORIGIN = (b"origin", b"https://chat.example")


def test_a_listed_origin_may_call_from_a_page():
    client = guarded(cors_origins=("https://chat.example/",), api_keys=(KEY,))
    asks = (b"access-control-request-method", b"POST")
    preflight = asyncio.run(client.call("OPTIONS", "/v1/models", b"", [ORIGIN, asks]).run())
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://chat.example"
    assert "Authorization" in preflight.headers["access-control-allow-headers"]
    answer = client.get("/v1/models", ORIGIN, bearer(KEY.encode()))
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    assert "origin" in answer.headers["vary"].lower()
    assert client.get("/v1/models", ORIGIN).status == 401


@pytest.mark.parametrize(
    "origin", [b"https://evil.example", b"null", b"https://chat.example.evil.example", b"*"]
)
def test_other_origins_get_no_leave(origin):
    client = guarded(cors_origins=("https://chat.example",))
    for method in ("OPTIONS", "GET"):
        call = client.call(method, "/v1/models", b"", [(b"origin", origin)])
        answer = asyncio.run(call.run())
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_no_cross_origin_call_is_allowed(client):
    preflight = client.call("OPTIONS", "/v1/models", b"", [(b"origin", b"http://evil.example")])
    answer = asyncio.run(preflight.run())
    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (b"legato.local", 200),
        (b"Legato.Local:8000", 200),
        (b"[::1]:80", 200),
        (b"evil.example", 400),
        (b"", 400),
        (b"legato.local.evil.example", 400),
    ],
)
def test_a_host_list_shuts_out_other_names(host, status):
    client = guarded(allowed_hosts=("legato.local", "[::1]"))
    assert client.get("/v1/models", (b"host", host)).status == status


def test_a_draining_server_takes_no_new_work(chat_body):
    lifecycle = Lifecycle()
    app = create_app(make_service(FakeSource()), ServerSettings(), lifecycle=lifecycle)
    client = AsgiClient(app)
    assert client.get("/ready").json() == {"ready": True}
    lifecycle.draining = True
    assert client.get("/ready").status == 503
    answer = client.post("/v1/chat/completions", chat_body)
    assert (answer.status, answer.error["code"]) == (503, "shutting_down")
    assert answer.headers["connection"] == "close"
    assert int(answer.headers["retry-after"]) >= 1
    assert client.get("/health").status == 200


@pytest.mark.parametrize("given", ["abc-1.2_X", "x" * 128])
def test_a_harmless_request_id_is_sent_back(client, given):
    answer = client.get("/v1/models", (b"x-request-id", given.encode()))
    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "../../x", "tcp://evil:1", "a\r\nb: c", "a\n", "ü"]
)
def test_any_other_request_id_is_replaced(client, given):
    answer = client.get("/v1/models", (b"x-request-id", given.encode()))
    assert answer.headers["x-request-id"] != given
    assert answer.headers["x-request-id"].isalnum()


def test_a_callers_id_never_becomes_an_internal_one(client, source, chat_body):
    answer = client.post("/v1/chat/completions", chat_body, (b"x-request-id", b"mine"))
    assert answer.headers["x-request-id"] == "mine"
    assert source.requests[0].id != "mine"
    assert "mine" not in answer.json()["id"]
