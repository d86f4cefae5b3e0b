"""The lines of a table of figures, for the terminal and the report alike."""

from __future__ import annotations

from collections.abc import Callable

from legato.bench.document import Document, name_of
from legato.metrics.fluid_rate import FASTEST

Row = tuple[str, Callable[[Document], str]]


def title_of(document: Document) -> str:
    """Endpoint and rate of a run."""
    return f"{name_of(document)} @ {document['rate']:.3g}/s"


def rows() -> list[Row]:
    """The lines of the table. A distribution is p50 / p90 / p99 / max."""
    return [
        ("requests", lambda f: str(f["requests"])),
        ("failed", _failures),
        ("QPS", lambda f: f"{f['requests_per_s']:.2f}"),
        ("goodput, requests/s", lambda f: _plain(f["goodput_per_s"], "{:.2f}")),
        ("input tokens/s", lambda f: f"{f['input_tokens_per_s']:.1f}"),
        ("output tokens/s", lambda f: f"{f['output_tokens_per_s']:.1f}"),
        ("seconds per token", lambda f: _plain(f["seconds_per_token"], "{:.4f}")),
        ("TTFT, ms", lambda f: _spread(f["ttft_s"], 1e3)),
        ("TBT, ms", lambda f: _spread(f["tbt_s"], 1e3)),
        ("TPOT, ms", lambda f: _spread(f["tpot_s"], 1e3)),
        ("normalized latency, ms", lambda f: _spread(f["normalized_latency_s"], 1e3)),
        ("fluidity-index, mean", lambda f: _plain((f["fluidity_index"] or {}).get("mean"))),
        ("on-time fraction", lambda f: _plain(f["on_time_fraction"])),
        ("fluid requests", _fluid),
        ("fluid token rate, tokens/s", _token_rate),
        ("cost per 1M output tokens", _cost),
        ("machine time of requests", _machine),
        ("client CPU, µs/token", lambda f: _plain((f["client"] or {}).get("cpu_us_per_token"))),
        ("client minus server TTFT, ms", lambda f: _spread(f["server_ttft_difference_ms"], 1)),
    ]


def _spread(distribution: Document | None, scale: float) -> str:
    if distribution is None:
        return "-"
    return " / ".join(f"{distribution[q] * scale:.1f}" for q in ("p50", "p90", "p99", "max"))


def _plain(value: float | None, form: str = "{:.3f}") -> str:
    return "-" if value is None else form.format(value)


def _failures(figures: Document) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in figures["failures"].items())
    return f"{figures['failed']} ({kinds})" if kinds else str(figures["failed"])


def _fluid(figures: Document) -> str:
    share, interval = figures["fluid_fraction"], figures["fluid_interval"]
    if interval is None:
        return "-"
    return f"{share or 0:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _cost(figures: Document) -> str:
    return _plain((figures["cost"] or {}).get("per_million_output_tokens"), "{:.4g}")


def _token_rate(figures: Document) -> str:
    rate = figures["fluid_token_rate"]
    unlimited = rate is not None and rate >= FASTEST
    return "all before the first deadline" if unlimited else _plain(rate, "{:.1f}")


def _machine(figures: Document) -> str:
    machine = figures.get("machine")
    return f"{machine['seconds']:.2f} s ({machine['share']:.0%})" if machine else "-"
