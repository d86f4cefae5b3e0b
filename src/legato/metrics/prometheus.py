"""What one server exposes to Prometheus. A registry per app; every label set is bounded.

Labels take their values from the enums here and from the names that an operator gave to API keys;
from nothing that a client sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from legato.metrics import latency
from legato.metrics.latency import NS_PER_SECOND
from legato.metrics.machine_time import MachineTime
from legato.metrics.price import MachinePrice
from legato.metrics.steps import StepMetrics
from legato.metrics.tally import Tally
from legato.metrics.timeline import Timeline

TTFT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
TBT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 5)
TOTAL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Endpoint(StrEnum):
    """What was called; every path that is not ours is OTHER."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"
    TOKENS = "tokens"
    MODELS = "models"
    OPERATIONS = "operations"
    OTHER = "other"


class Outcome(StrEnum):
    """How a call ended."""

    OK = "ok"
    REFUSED = "refused"  # the client's fault, 4xx
    OVERLOADED = "overloaded"  # 503 or 429: try again later
    CANCELLED = "cancelled"  # the client went away
    ERROR = "error"  # our fault


class KeyRefusal(StrEnum):
    """Which limit of an API key was reached."""

    CONCURRENT = "concurrent"
    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class EngineGauges:
    """The engine's state at the moment of a scrape. Times in seconds."""

    running: int = 0
    waiting: int = 0
    blocks_used: int = 0
    blocks_cached: int = 0
    blocks_total: int = 0
    last_step_age_s: float = 0.0
    oldest_waiting_s: float = 0.0


_GAUGES = {
    "running": ("legato_sequences_running", "Sequences in the running batch."),
    "waiting": ("legato_requests_waiting", "Requests that wait for admission."),
    "blocks_used": ("legato_kv_blocks_used", "KV blocks held by live sequences."),
    "blocks_cached": ("legato_kv_blocks_cached", "KV blocks kept only for prefix reuse."),
    "blocks_total": ("legato_kv_blocks", "KV blocks in the pool."),
    "last_step_age_s": (
        "legato_engine_step_age_seconds",
        "Time without a step although there is work.",
    ),
    "oldest_waiting_s": ("legato_oldest_waiting_seconds", "Age of the oldest waiting request."),
}


class ServerMetrics:
    """Counters and histograms of one app, and gauges read from the engine at each scrape.

    `steps` takes what the engine tells of each of its steps, `machine` the machine time of each
    answer; with a `price` it tells the cost, too.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(
        self, gauges: Callable[[], EngineGauges], price: MachinePrice | None = None
    ) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_GaugeCollector(gauges))
        labels = ("endpoint", "outcome")
        self._calls = Counter("legato_calls", "HTTP calls.", labels, registry=registry)
        self._keys = _key_counters(registry)
        self._prompt = Counter("legato_prompt_tokens", "Prompt tokens.", registry=registry)
        self._cached = Counter(
            "legato_cached_prompt_tokens", "Prompt tokens reused.", registry=registry
        )
        self._output = Counter("legato_output_tokens", "Tokens delivered.", registry=registry)
        self._ttft = _histogram(registry, "legato_ttft", "Time to first token", TTFT_BUCKETS)
        self._tbt = _histogram(registry, "legato_tbt", "Time between tokens", TBT_BUCKETS)
        self._total = _histogram(registry, "legato_e2e", "Arrival to last token", TOTAL_BUCKETS)
        self.steps = StepMetrics(registry)
        self.machine = MachineTime(price)
        registry.register(self.machine)

    def count_call(self, endpoint: Endpoint, outcome: Outcome) -> None:
        """One HTTP call ended."""
        self._calls.labels(endpoint.value, outcome.value).inc()

    def count_key(self, name: str, prompt_tokens: int, output_tokens: int) -> None:
        """A call of the API key `name` ended; the names are the operator's."""
        self._keys["requests"].labels(name).inc()
        self._keys["prompt"].labels(name).inc(prompt_tokens)
        self._keys["output"].labels(name).inc(output_tokens)

    def refuse_key(self, name: str, reason: KeyRefusal) -> None:
        """A call of the API key `name` had to wait."""
        self._keys["refused"].labels(name, reason.value).inc()

    def count_prompt(self, tokens: int, cached: int) -> None:
        """A prompt of `tokens` was served, `cached` of them from the prefix cache."""
        self._prompt.inc(tokens)
        self._cached.inc(cached)

    def observe_sample(self, timeline: Timeline) -> None:
        """A sample ended; one without tokens only ran, it has no latency."""
        if not timeline.stamps_ns:
            return
        self._output.inc(timeline.output_tokens)
        self._ttft.observe(latency.ttft_ns(timeline) / NS_PER_SECOND)
        self._total.observe(latency.total_ns(timeline) / NS_PER_SECOND)
        self._tbt.observe_all(gap / NS_PER_SECOND for gap in latency.tbt_ns(timeline))

    def render(self) -> bytes:
        """The text exposition format, UTF-8."""
        return generate_latest(self.registry)


def _key_counters(registry: CollectorRegistry) -> dict[str, Counter]:
    """Usage by name of API key."""
    key = ("key",)
    return {
        "requests": Counter("legato_key_requests", "Calls by API key.", key, registry=registry),
        "prompt": Counter(
            "legato_key_prompt_tokens", "Prompt tokens by API key.", key, registry=registry
        ),
        "output": Counter(
            "legato_key_output_tokens", "Tokens delivered by API key.", key, registry=registry
        ),
        "refused": Counter(
            "legato_key_refused",
            "Calls over a limit of their API key.",
            (*key, "reason"),
            registry=registry,
        ),
    }


def _histogram(
    registry: CollectorRegistry, name: str, what: str, buckets: tuple[float, ...]
) -> Tally:
    return Tally(f"{name}_seconds", f"{what}, seconds.", buckets, registry)


class _GaugeCollector(Collector):
    def __init__(self, read: Callable[[], EngineGauges]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        state = self._read()
        for field, (name, text) in _GAUGES.items():
            yield GaugeMetricFamily(name, text, value=getattr(state, field))

    def describe(self) -> Iterator[Metric]:
        for name, text in _GAUGES.values():
            yield GaugeMetricFamily(name, text)
