"""OpenTelemetry traces: one span a call, with the semantic conventions for generative AI.

Attribute names are those of https://opentelemetry.io/docs/specs/semconv/gen-ai/. Prompts and
answers are never in a span.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import legato
from legato.errors import LegatoError
from legato.metrics.prometheus import Endpoint, Outcome
from legato.server.settings import ServerSettings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

    from legato.server.calls import Call

OPERATIONS = {
    Endpoint.CHAT: "chat",
    Endpoint.COMPLETIONS: "text_completion",
    Endpoint.RESPONSES: "chat",
}
"""`gen_ai.operation.name` of the calls that get a span."""

Attribute = str | int | float | tuple[str, ...]


class CallObserver(Protocol):
    """Is told of every call that has ended."""

    def finished(self, call: Call, outcome: Outcome) -> None:
        """`call` ended with `outcome`; must be quick and not raise."""
        ...


class CallTracer:
    """Makes a span of each call that generates."""

    def __init__(self, exporter: SpanExporter) -> None:
        """`exporter` gets the spans, from a thread of its own."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create(
            {"service.name": "legato", "service.version": legato.__version__}
        )
        self._provider: TracerProvider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("legato", legato.__version__)

    def finished(self, call: Call, outcome: Outcome) -> None:
        """A span from the call's arrival to now, a child of the caller's `traceparent`."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        operation = OPERATIONS.get(call.endpoint)
        if operation is None:
            return
        span = self._tracer.start_span(
            f"{operation} {call.model}" if call.model else operation,
            context=_parent(call.traceparent),
            kind=SpanKind.SERVER,
            attributes=attributes_of(call, operation, outcome),
            start_time=call.started_unix_ns,
        )
        if outcome is not Outcome.OK:
            span.set_status(Status(StatusCode.ERROR, outcome.value))
        span.end(call.started_unix_ns + call.duration_ns)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def otlp_tracer(endpoint: str) -> CallTracer:
    """Sends spans to a collector, such as http://localhost:4318/v1/traces.

    Raises LegatoError where the packages are not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise LegatoError(
            "--otel-endpoint needs OpenTelemetry: pip install 'legato-llm[otel]'"
        ) from None
    return CallTracer(OTLPSpanExporter(endpoint=endpoint))


@contextmanager
def call_observers(settings: ServerSettings) -> Iterator[tuple[CallObserver, ...]]:
    """What `settings` want to be told of calls; at the end, all of it is sent."""
    if not settings.otel_endpoint:
        yield ()
        return
    tracer = otlp_tracer(settings.otel_endpoint)
    try:
        yield (tracer,)
    finally:
        tracer.close()


def attributes_of(call: Call, operation: str, outcome: Outcome) -> dict[str, Attribute]:
    """What is known of a call under its conventional names; nothing that is unknown."""
    known: Mapping[str, Attribute | None] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "legato",
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": call.model,
        "gen_ai.response.finish_reasons": call.finish_reasons or None,
        "gen_ai.usage.input_tokens": call.prompt_tokens or None,
        "gen_ai.usage.output_tokens": call.output_tokens or None,
        "gen_ai.usage.cache_read.input_tokens": call.cached_tokens or None,
        "http.response.status_code": call.status,
        "error.type": None if outcome is Outcome.OK else outcome.value,
        "legato.request_id": call.request_id,
        "legato.ttft_ms": None if call.ttft_ns is None else call.ttft_ns / 1e6,
    }
    return {name: value for name, value in known.items() if value is not None}


def _parent(traceparent: str | None) -> Context:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": traceparent} if traceparent else {}
    return TraceContextTextMapPropagator().extract(carrier)
