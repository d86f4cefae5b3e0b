"""Models, metrics, unknown names, and the schema's truth."""

import asyncio
import json

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service

from legato.metrics.prometheus import EngineGauges
from legato.server.app import create_app
from legato.server.other_answers import Health, Model, ModelList, Ready, Version
from legato.server.service import SourceStatus
from legato.server.settings import ServerSettings


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/models", ModelList),
        ("/v1/models/tiny", Model),
        ("/health", Health),
        ("/ready", Ready),
        ("/version", Version),
    ],
)
def test_answers_have_the_shape_of_the_schema(client, path, model):
    answer = client.get(path)
    assert answer.status == 200
    model.model_validate(answer.json())


def test_aliases_are_models_too(source, chat_body):
    settings = ServerSettings(model_aliases=("org/alias",))
    client = AsgiClient(create_app(make_service(source), settings))
    ids = [card["id"] for card in client.get("/v1/models").json()["data"]]
    assert ids == ["tiny", "org/alias"]
    assert client.get("/v1/models/org/alias").json()["id"] == "org/alias"
    answer = client.post("/v1/chat/completions", {**chat_body, "model": "org/alias"})
    assert answer.json()["model"] == "org/alias"


def test_the_served_model_answers_when_none_is_named(client, chat_body):
    del chat_body["model"]
    assert client.post("/v1/chat/completions", chat_body).json()["model"] == "tiny"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_an_unknown_model_is_not_found(client, path):
    body = {"model": "gpt-x", "prompt": "x"}
    if "chat" in path:
        body = {"model": "gpt-x", "messages": [{"role": "user", "content": "x"}]}
    answer = client.post(path, body)
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert client.get("/v1/models/gpt-x").error["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/models/", 404),
        ("POST", "/v1/completions/", 404),
        ("POST", "/v1/images/generations", 404),
        ("GET", "/%2e%2e/etc", 404),
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
    ],
)
def test_unknown_paths_and_wrong_methods(client, method, path, status):
    answer = asyncio.run(client.call(method, path).run())
    assert answer.status == status
    assert set(answer.json()) == {"error"}
    assert ("allow" in answer.headers) == (status == 405)


def test_metrics_do_not_grow_with_what_callers_make_up(client, chat_body):
    client.get("/nope")
    client.post("/v1/chat/completions", {**chat_body, "model": "x"})
    client.get("/v1/models/x")
    before = client.get("/metrics").body.decode().count("\n")
    for number in range(50):
        client.get(f"/path-{number}")
        client.get(f"/v1/models/m-{number}")
        client.post("/v1/chat/completions", {**chat_body, "model": f"m-{number}"})
        client.post(f"/v1/{number}", {})
    text = client.get("/metrics").body.decode()
    assert text.count("\n") - before <= 2  # the scrape itself is a call with its own label
    assert "m-1" not in text
    assert "path-" not in text


def test_metrics_tell_what_was_served(client, source, chat_body):
    source.cached = 4
    source.state = SourceStatus(gauges=EngineGauges(running=3, waiting=2, blocks_total=10))
    client.post("/v1/chat/completions", {**chat_body, "n": 2})
    client.post("/v1/chat/completions", {**chat_body, "stream": True})
    text = client.get("/metrics").body.decode()
    assert 'legato_calls_total{endpoint="chat",outcome="ok"} 2.0' in text
    assert "legato_output_tokens_total 39.0" in text
    assert "legato_ttft_seconds_count 3.0" in text
    assert "legato_tbt_seconds_count 36.0" in text
    assert "legato_cached_prompt_tokens_total 8.0" in text
    assert "legato_sequences_running 3.0" in text


def test_two_apps_have_metrics_of_their_own(client):
    other = AsgiClient(create_app(make_service(FakeSource()), ServerSettings()))
    client.get("/v1/models")
    assert 'endpoint="models"' in client.get("/metrics").body.decode()
    assert 'endpoint="models"' not in other.get("/metrics").body.decode()


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_schema_describes_bodies_streams_and_errors(client):
    schema = client.get("/openapi.json").json()
    components = schema["components"]["schemas"]
    for path, name in (
        ("/v1/chat/completions", "ChatRequest"),
        ("/v1/completions", "CompletionRequest"),
    ):
        operation = schema["paths"][path]["post"]
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert body == {"$ref": f"#/components/schemas/{name}"}
        assert "text/event-stream" in operation["responses"]["200"]["content"]
        assert "4XX" in operation["responses"]
        assert "422" not in operation["responses"]
    assert components["ChatRequest"]["additionalProperties"] is False
    for reference in references(schema):
        assert reference.removeprefix("#/components/schemas/") in components, reference


def test_the_schema_says_that_null_is_taken(client):
    properties = client.get("/openapi.json").json()["components"]["schemas"]["ChatRequest"]
    for name, field in properties["properties"].items():
        nullable = {"type": "null"} in field.get("anyOf", [])
        assert nullable == (name not in properties["required"]), name


def test_text_that_is_not_ascii_survives(client, source, chat_body):
    source.reply = 'héllo 🎵 \u2028 </script> \x00 "quoted"'
    answer = client.post("/v1/chat/completions", chat_body)
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == source.reply
    events = client.post("/v1/chat/completions", {**chat_body, "stream": True}).events()
    content = "".join(e["choices"][0]["delta"].get("content", "") for e in events[:-1])
    assert content == source.reply
