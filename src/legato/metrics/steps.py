"""What the engine's steps are to Prometheus: times, batches, work, deadlines. Labels are fixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge

from legato.metrics.tally import Tally

NS_PER_SECOND = 1e9
STEP_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
SEQUENCE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SPECULATION_KINDS = ("taken", "predicted", "undrafted", "undrafted_expected")
FLUIDITY_BUCKETS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(slots=True, kw_only=True)
class DraftSample:
    """What became of drafts since the step before. Nobody changes it.

    Attributes:
        right, wrong: verified tokens by their place in a draft; those behind a wrong one are
            neither.
        drafter_ns: time that looking for drafts took.
        taken_ns, predicted_ns: of steps with drafts: what they took, and what was predicted.
        undrafted_ns: what the tokens of these steps would have taken without drafts, by the
            prediction; undrafted_expected_ns: those that were expected of them.
    """

    right: Sequence[int]
    wrong: Sequence[int]
    drafter_ns: int
    taken_ns: int
    predicted_ns: float
    undrafted_ns: float
    undrafted_expected_ns: float


@dataclass(slots=True, kw_only=True)
class StepSample:
    """One step, and what changed with it. Times in ns, rates per second. Nobody changes it.

    Attributes:
        duration_ns, predicted_ns: what it took, and what it should have taken.
        decode_rows, draft_rows, prompt_rows, sequences: the batch.
        flops, bytes: its work; peak_flops, peak_bandwidth: the machine's ceilings.
        error, factor: running error of predictions, and the correction that they have.
        fluidity: fluidity-index of every sample that ended.
        deadlines_met, deadlines_missed, preemptions: since the step before.
        prompt_tokens, cached_tokens: of the prompts that began since the step before.
        drafts: what became of drafts since the step before; None where there were none.
    """

    duration_ns: int
    predicted_ns: int
    decode_rows: int
    draft_rows: int
    prompt_rows: int
    sequences: int
    flops: float
    bytes: float
    peak_flops: float
    peak_bandwidth: float
    error: float
    factor: float
    fluidity: Sequence[float]
    deadlines_met: int
    deadlines_missed: int
    preemptions: int
    prompt_tokens: int
    cached_tokens: int
    drafts: DraftSample | None = None

    def share_of(self, amount: float, peak: float) -> float:
        """`amount` a step as a share of what the machine could do in its time."""
        seconds = self.duration_ns / NS_PER_SECOND
        return amount / (peak * seconds) if peak and seconds else 0.0


GAUGES: Mapping[str, tuple[str, Callable[[StepSample], float]]] = {
    "step_prediction_error": (
        "Running mean of |predicted/measured-1|.",
        lambda step: step.error,
    ),
    "step_prediction_factor": (
        "Correction of predicted step times.",
        lambda step: step.factor,
    ),
    "engine_mfu": (
        "FLOPs of the last step over the machine's peak.",
        lambda step: step.share_of(step.flops, step.peak_flops),
    ),
    "engine_mbu": (
        "Bytes of the last step over the machine's peak.",
        lambda step: step.share_of(step.bytes, step.peak_bandwidth),
    ),
}
"""Figures of the last step, read at each scrape."""


class StepMetrics:
    """Histograms, counters and gauges of one engine."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(name: str, text: str, buckets: Sequence[float]) -> Tally:
            return Tally(f"legato_{name}", text, buckets, registry)

        counter = partial(_counter, registry)
        self._step = histogram("engine_step_seconds", "An engine step, seconds.", STEP_BUCKETS)
        self._predicted = histogram(
            "engine_step_predicted_seconds", "What a step should take, seconds.", STEP_BUCKETS
        )
        self._sequences = histogram(
            "engine_step_sequences", "Sequences in a step.", SEQUENCE_BUCKETS
        )
        self._fluidity = histogram(
            "fluidity_index", "Fluidity-index of a finished sample.", FLUIDITY_BUCKETS
        )
        self._rows = counter("engine_rows", "Token rows computed.", "kind")
        self._decode_rows = self._rows.labels("decode")
        self._deadlines = counter("deadlines", "Token deadlines of finished samples.", "outcome")
        self._preemptions = counter("preemptions", "Sequences that gave their blocks back.")
        self._prompts = counter("prefix_tokens", "Tokens of prompts that began.", "source")
        self._drafts = _DraftMetrics(registry)
        self._flops = counter("engine_flops", "FLOPs computed.")
        self._bytes = counter("engine_bytes", "Bytes of weights, keys and values moved.")
        self._last: StepSample | None = None
        for name, (text, read) in GAUGES.items():
            gauge = Gauge(f"legato_{name}", text, registry=registry)
            gauge.set_function(partial(self._of_last, read))

    def observe(self, step: StepSample) -> None:
        """The engine finished a step."""
        self._step.observe(step.duration_ns / NS_PER_SECOND)
        self._predicted.observe(step.predicted_ns / NS_PER_SECOND)
        self._sequences.observe(step.sequences)
        self._decode_rows.inc(step.decode_rows)
        _count(self._rows, draft=step.draft_rows, prompt=step.prompt_rows)
        _count(self._deadlines, met=step.deadlines_met, missed=step.deadlines_missed)
        computed = step.prompt_tokens - step.cached_tokens
        _count(self._prompts, cache=step.cached_tokens, computed=computed)
        if step.preemptions:
            self._preemptions.inc(step.preemptions)
        self._flops.inc(step.flops)
        self._bytes.inc(step.bytes)
        self._fluidity.observe_all(step.fluidity)
        self._last = step
        if step.drafts is not None:
            self._drafts.observe(step.drafts)

    def _of_last(self, read: Callable[[StepSample], float]) -> float:
        return 0.0 if self._last is None else read(self._last)


class _DraftMetrics:
    """What became of drafts, and what they gave."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(_counter, registry)
        self._tokens = counter(
            "draft_tokens", "Drafted tokens that were verified.", "outcome", "place"
        )
        self._drafter = counter("drafter_seconds", "Time spent looking for drafts, seconds.")
        self._speculation = counter(
            "speculation_seconds", "Steps that verified drafts, in four ways, seconds.", "kind"
        )
        for kind in SPECULATION_KINDS:
            self._speculation.labels(kind)

    def observe(self, drafts: DraftSample) -> None:
        """Some were verified."""
        self._drafter.inc(drafts.drafter_ns / NS_PER_SECOND)
        times = (
            drafts.taken_ns,
            drafts.predicted_ns,
            drafts.undrafted_ns,
            drafts.undrafted_expected_ns,
        )
        for kind, time_ns in zip(SPECULATION_KINDS, times, strict=True):
            if time_ns:
                self._speculation.labels(kind).inc(time_ns / NS_PER_SECOND)
        for outcome, counts in (("right", drafts.right), ("wrong", drafts.wrong)):
            for place, count in enumerate(counts):
                if count:
                    self._tokens.labels(outcome, str(place)).inc(count)


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(f"legato_{name}", text, labels, registry=registry)


def _count(counter: Counter, **amounts: int) -> None:
    for label, amount in amounts.items():
        if amount:
            counter.labels(label).inc(amount)
