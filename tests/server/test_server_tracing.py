"""Traces: a span a call that generates, with conventional names, and without its text."""

from __future__ import annotations

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from legato.errors import LegatoError
from legato.server.app import create_app
from legato.server.settings import ServerSettings
from legato.server.tracing import CallTracer, call_observers, otlp_tracer

CHAT = "/v1/chat/completions"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def spans_of(body, path=CHAT, headers=()):
    exporter = InMemorySpanExporter()
    tracer = CallTracer(exporter)
    app = create_app(make_service(FakeSource()), ServerSettings(), observers=[tracer])
    client = AsgiClient(app)
    if body is None:
        client.get(path)
    else:
        client.post(path, body, *headers)
    tracer.close()
    return exporter.get_finished_spans()


@pytest.mark.parametrize("stream", [False, True])
def test_a_chat_is_a_span_with_the_conventional_attributes(chat_body, stream):
    (span,) = spans_of({**chat_body, "stream": stream, "max_tokens": 3})
    assert span.name == "chat tiny"
    assert span.kind is SpanKind.SERVER
    attributes = dict(span.attributes)
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "legato"
    assert attributes["gen_ai.request.model"] == "tiny"
    assert attributes["gen_ai.response.finish_reasons"] == ("length",)
    assert attributes["gen_ai.usage.output_tokens"] == 3
    assert attributes["gen_ai.usage.input_tokens"] > 0
    assert attributes["http.response.status_code"] == 200
    assert span.end_time >= span.start_time
    assert span.status.status_code is not StatusCode.ERROR


def test_no_text_is_in_a_span(chat_body):
    body = {**chat_body, "messages": [{"role": "user", "content": "my secret"}], "user": "ann"}
    (span,) = spans_of(body)
    assert "secret" not in span.to_json()
    assert "ann" not in span.to_json()


def test_a_span_is_a_child_of_the_callers(chat_body):
    header = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
    (span,) = spans_of(chat_body, headers=[header])
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT


def test_a_damaged_traceparent_starts_a_trace(chat_body):
    (span,) = spans_of(chat_body, headers=[(b"traceparent", b"\xff00-nonsense")])
    assert span.parent is None


def test_a_refused_call_is_a_span_with_an_error(chat_body):
    (span,) = spans_of({**chat_body, "temperature": -1})
    assert span.attributes["error.type"] == "refused"
    assert span.status.status_code is StatusCode.ERROR


def test_other_paths_have_no_span():
    assert spans_of(None, "/health") == ()


def test_without_an_endpoint_nobody_observes():
    with call_observers(ServerSettings()) as observers:
        assert observers == ()


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(
        __import__("sys").modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None
    )
    with pytest.raises(LegatoError, match=r"legato-llm\[otel\]"):
        otlp_tracer("http://localhost:4318/v1/traces")
