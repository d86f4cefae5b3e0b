"""Writes deploy/grafana/legato.json: the Grafana dashboard, from the table of panels below.

python scripts/make_dashboard.py
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "deploy" / "grafana" / "legato.json"
SOURCE = {"type": "prometheus", "uid": "${source}"}
WIDTH, HEIGHT, COLUMNS = 8, 8, 3


@dataclass(frozen=True)
class Panel:
    """A plot: its title, its unit in Grafana's words, and (legend, PromQL) of each line."""

    title: str
    unit: str
    lines: tuple[tuple[str, str], ...]
    text: str = ""


def quantiles(metric: str, *shares: float) -> tuple[tuple[str, str], ...]:
    """Lines of a histogram's quantiles over five minutes."""
    rate = f"sum by (le) (rate({metric}_bucket[5m]))"
    return tuple((f"p{share * 100:g}", f"histogram_quantile({share}, {rate})") for share in shares)


def per_second(metric: str) -> str:
    """PromQL of a counter's rate over a minute."""
    return f"sum(rate({metric}[1m]))"


PANELS = (
    Panel(
        "Calls",
        "reqps",
        (
            (
                "{{endpoint}} {{outcome}}",
                "sum by (endpoint, outcome) (rate(legato_calls_total[1m]))",
            ),
        ),
    ),
    Panel(
        "Time to first token",
        "s",
        quantiles("legato_ttft_seconds", 0.5, 0.95, 0.99),
        "Queueing included.",
    ),
    Panel("Time between tokens", "s", quantiles("legato_tbt_seconds", 0.5, 0.95, 0.99)),
    Panel("Arrival to last token", "s", quantiles("legato_e2e_seconds", 0.5, 0.95)),
    Panel(
        "Tokens",
        "short",
        (
            ("prompt/s", per_second("legato_prompt_tokens_total")),
            ("from the prefix cache/s", per_second("legato_cached_prompt_tokens_total")),
            ("output/s", per_second("legato_output_tokens_total")),
        ),
    ),
    Panel(
        "Sequences",
        "short",
        (("running", "legato_sequences_running"), ("waiting", "legato_requests_waiting")),
    ),
    Panel("Oldest waiting request", "s", (("age", "legato_oldest_waiting_seconds"),)),
    Panel(
        "KV blocks",
        "short",
        (
            ("used", "legato_kv_blocks_used"),
            ("kept for reuse", "legato_kv_blocks_cached"),
            ("all", "legato_kv_blocks"),
        ),
    ),
    Panel(
        "Speculation",
        "short",
        (
            (
                "gain in steps with drafts",
                'sum(rate(legato_speculation_seconds_total{kind="undrafted"}[1m]))'
                ' / sum(rate(legato_speculation_seconds_total{kind="taken"}[1m]))',
            ),
            (
                "gain as predicted",
                'sum(rate(legato_speculation_seconds_total{kind="undrafted_expected"}[1m]))'
                ' / sum(rate(legato_speculation_seconds_total{kind="predicted"}[1m]))',
            ),
        ),
        "Tokens a second over those without drafts.",
    ),
    Panel("Engine step", "s", quantiles("legato_engine_step_seconds", 0.5, 0.99)),
    Panel(
        "Since the last step",
        "s",
        (("age", "legato_engine_step_age_seconds"),),
        "Grows while there is work and no step ends: the engine hangs.",
    ),
)


def panel_json(number: int, panel: Panel) -> dict[str, Any]:
    """One panel, in its place of the grid."""
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
            for i, (legend, expr) in enumerate(panel.lines)
        ],
    }


def dashboard() -> dict[str, Any]:
    """The whole dashboard."""
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": "legato",
        "title": "Legato",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [source]},
        "panels": [panel_json(number, panel) for number, panel in enumerate(PANELS)],
    }


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(dashboard(), indent=1) + "\n")
