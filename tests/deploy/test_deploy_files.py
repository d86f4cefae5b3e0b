"""What the deployment files say is true of the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner

from legato.cli.main import app
from legato.server.guard import OPEN_PATHS
from legato.server.settings import ServerSettings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
FILES = ("Dockerfile", "kubernetes.yaml", "legato.service")
GRACE = next(field.default for field in fields(ServerSettings) if field.name == "grace")


def uncommented(name: str) -> str:
    lines = (DEPLOY / name).read_text().splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith("#"))


@pytest.mark.parametrize("name", FILES)
def test_every_option_exists(name):
    command = re.search(r"^.*(?:legato serve |\"serve\"|args:).*$", uncommented(name), re.M)
    assert command is not None
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", command[0]))
    assert options
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert options <= set(re.findall(r"--[a-z][a-z-]+", shown))


def test_kubernetes_probes_ask_paths_that_need_no_key():
    paths = re.findall(r"httpGet: \{path: (/\w+)", uncommented("kubernetes.yaml"))
    assert len(paths) == 3
    assert set(paths) <= OPEN_PATHS


def test_nobody_kills_the_server_before_its_grace_time_is_over():
    pod = re.search(r"terminationGracePeriodSeconds: (\d+)", uncommented("kubernetes.yaml"))
    unit = re.search(r"TimeoutStopSec=(\d+)", uncommented("legato.service"))
    assert pod is not None
    assert unit is not None
    assert min(int(pod[1]), int(unit[1])) > GRACE


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
def test_promtool_accepts_the_configuration():
    file = DEPLOY / "prometheus" / "prometheus.yml"
    done = subprocess.run(["promtool", "check", "config", str(file)], capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
def test_systemd_accepts_the_unit(tmp_path):
    unit = tmp_path / "legato.service"
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", uncommented("legato.service")))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert "legato.service" not in done.stderr
