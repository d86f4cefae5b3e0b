"""What became of one request: a success, or a failure of a named kind."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from legato.errors import LegatoError
from legato.metrics.latency import NS_PER_SECOND
from legato.metrics.timeline import Timeline

NS_PER_MS = 1e6


class FailureKind(StrEnum):
    """Why a request counts as failed."""

    CONNECT = "connect"  # no connection could be made
    OVERLOADED = "overloaded"  # 429 or 503: try again later
    REFUSED = "refused"  # any other 4xx
    SERVER_ERROR = "server_error"  # any other status that is not 200
    RESET = "reset"  # the connection broke before the answer was complete
    DEADLINE = "deadline"  # no complete answer within the time limit
    STREAM_ERROR = "stream_error"  # an error object inside the stream
    MALFORMED = "malformed"  # not HTTP, or not the JSON of a chunk
    INCOMPLETE = "incomplete"  # the stream ended before [DONE] or without a finish reason
    EMPTY = "empty"  # a complete stream without a token
    UNFINISHED = "unfinished"  # the run was interrupted first


class RequestFailedError(LegatoError):
    """A request failed; `kind` says how."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(slots=True)
class Outcome:
    """One request and its answer; times in ns of one monotonic clock.

    Attributes:
        timeline: when it was due and when each token came; what came before a failure stays.
        sent_ns: when the client really began; later than the arrival when the client lags.
        ended_ns: when the client knew the answer to be complete, or failed.
        written_ns: when it began to write the request, on a connection that was there by then.
        text: the answer.
        finish_reason: why the answer ended.
        counted_by: "usage", or "chunks" where the server sent no usage: then a chunk is a token.
        cached_tokens: prompt tokens that the server reused, where it says so.
        server_ttft_ms: the server's own figure, where it sends `legato.timing`.
        machine_ns: machine time that the request took, where the server sends `legato.cost`.
        failure: None for a success.
        detail: the failure in words.
        warmup: sent before the measured window.
    """

    timeline: Timeline
    sent_ns: int = 0
    ended_ns: int = 0
    written_ns: int = 0
    text: str = ""
    finish_reason: str | None = None
    counted_by: str = "chunks"
    cached_tokens: int = 0
    server_ttft_ms: float | None = None
    machine_ns: int | None = None
    failure: FailureKind | None = None
    detail: str = ""
    warmup: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the answer is complete."""
        return self.failure is None

    @property
    def ttft_difference_ms(self) -> float | None:
        """TTFT from writing the request, as the client saw it, minus the server's own."""
        if self.server_ttft_ms is None or not self.timeline.stamps_ns:
            return None
        return (self.timeline.stamps_ns[0] - self.written_ns) / NS_PER_MS - self.server_ttft_ms

    def to_json(self, origin_ns: int) -> dict[str, Any]:
        """Times in ms: `arrival_ms` from `origin_ns`, the others from the arrival."""
        start = self.timeline.arrival_ns
        return {
            "arrival_ms": _ms(start - origin_ns),
            "send_lag_ms": _ms(self.sent_ns - start),
            "written_ms": _ms(self.written_ns - start),
            "ended_ms": _ms(self.ended_ns - start),
            "token_ms": [_ms(stamp - start) for stamp in self.timeline.stamps_ns],
            "prompt_tokens": self.timeline.prompt_tokens,
            "cached_tokens": self.cached_tokens,
            "counted_by": self.counted_by,
            "finish_reason": self.finish_reason,
            "server_ttft_ms": self.server_ttft_ms,
            "machine_ns": self.machine_ns,
            "failure": self.failure,
            "detail": self.detail,
            "warmup": self.warmup,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Outcome:
        """The outcome of a record of `to_json`, without its text; the origin becomes 0."""
        arrival = _ns(record["arrival_ms"])
        stamps = [arrival + _ns(ms) for ms in record["token_ms"]]
        return cls(
            timeline=Timeline(arrival, stamps, record["prompt_tokens"]),
            sent_ns=arrival + _ns(record["send_lag_ms"]),
            written_ns=arrival + _ns(record.get("written_ms", record["send_lag_ms"])),
            ended_ns=arrival + _ns(record.get("ended_ms", 0.0)),
            finish_reason=record["finish_reason"],
            counted_by=record["counted_by"],
            cached_tokens=record["cached_tokens"],
            server_ttft_ms=record["server_ttft_ms"],
            machine_ns=record.get("machine_ns"),
            failure=FailureKind(record["failure"]) if record["failure"] else None,
            detail=record["detail"],
            warmup=record["warmup"],
        )


def _ms(duration_ns: int) -> float:
    return round(duration_ns / NS_PER_MS, 3)


def _ns(milliseconds: float) -> int:
    return round(milliseconds * NS_PER_SECOND / 1000)
