"""The Grafana dashboard matches the metrics, and has data in a real Prometheus."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from legato.metrics.prometheus import EngineGauges, ServerMetrics
from legato.server.app import create_app
from legato.server.settings import ServerSettings

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "server"))

from fake_source import FakeSource, make_service  # noqa: E402
from live_server import LiveServer  # noqa: E402

FILE = ROOT / "deploy" / "grafana" / "legato.json"
DASHBOARD = json.loads(FILE.read_text())
EXPRESSIONS = [line["expr"] for panel in DASHBOARD["panels"] for line in panel["targets"]]
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="Prometheus is not installed (Debian: prometheus)"
)
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def exposition() -> str:
    return ServerMetrics(EngineGauges).render().decode()


def test_the_file_is_what_the_script_writes():
    script = ROOT / "scripts" / "make_dashboard.py"
    spec = importlib.util.spec_from_file_location("make_dashboard", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_dashboard"] = module
    spec.loader.exec_module(module)
    assert module.dashboard() == DASHBOARD


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_of_the_dashboard_exists(expression):
    known = set(re.findall(r"^# TYPE (\w+) ", exposition(), re.M))
    families = {
        re.sub(r"_(bucket|sum|count)$", "", n) for n in re.findall(r"legato_\w+", expression)
    }
    assert families
    assert families <= known


@needs_promtool
def test_promtool_finds_nothing_wrong_with_the_metrics():
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=exposition(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_prometheus
def test_every_panel_has_data_in_a_real_prometheus(tmp_path):
    app = create_app(make_service(FakeSource()), ServerSettings())
    with LiveServer(app) as server:
        _chat(server.url)
        port = _free_port()
        config = tmp_path / "prometheus.yml"
        target = server.url.removeprefix("http://")
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: legato, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        prometheus = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            waiting = set(EXPRESSIONS)
            for _ in range(100):
                _chat(server.url)
                waiting = {e for e in waiting if not _has_data(port, e)}
                if not waiting:
                    break
                time.sleep(0.2)
            assert not waiting
        finally:
            prometheus.terminate()
            prometheus.wait(10)


def _chat(url: str) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def _has_data(port: int, expression: str) -> bool:
    query = urllib.parse.urlencode({"query": expression})
    try:
        url = f"http://127.0.0.1:{port}/api/v1/query?{query}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            document = json.load(answer)
    except OSError:  # it has not started yet
        return False
    assert document["status"] == "success"
    return bool(document["data"]["result"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
