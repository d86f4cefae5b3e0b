"""What the deployment files say is true of the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
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


INSTRUCTIONS = {
    *("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "EXPOSE", "VOLUME", "HEALTHCHECK"),
    "ENTRYPOINT",
}
ROOT = DEPLOY.parent


def dockerfile() -> list[tuple[str, str]]:
    """(instruction, its argument) in order; continued lines joined."""
    text = uncommented("Dockerfile").replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def test_the_dockerfile_is_well_formed_and_what_it_copies_is_there():
    steps = dockerfile()
    assert {instruction for instruction, _ in steps} <= INSTRUCTIONS
    stages = [argument.split(" AS ")[-1] for name, argument in steps if name == "FROM"]
    for name, argument in steps:
        if name == "COPY" and argument.startswith("--from="):
            assert argument.split()[0].removeprefix("--from=") in stages
        elif name == "COPY":
            assert all((ROOT / source).exists() for source in argument.split()[:-1]), argument
        elif name in ("ENTRYPOINT", "HEALTHCHECK"):  # exec form: signals reach the server itself
            assert isinstance(json.loads(argument[argument.index("[") :]), list)


def test_the_container_runs_without_root_and_listens_where_it_says():
    steps = dockerfile()
    users = [argument for name, argument in steps if name == "USER"]
    assert users
    assert users[-1] not in ("root", "0")
    assert [argument for name, argument in steps if name == "EXPOSE"] == [
        str(ServerSettings().port)
    ]
    (check,) = (argument for name, argument in steps if name == "HEALTHCHECK")
    asked = re.search(r"http://127\.0\.0\.1:(\d+)(/\w+)", check)
    assert asked is not None
    assert (int(asked[1]), asked[2] in OPEN_PATHS) == (ServerSettings().port, True)


def test_the_image_builds_what_the_project_describes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    text = uncommented("Dockerfile")
    extras = re.findall(r"\.\[(\w+)\]", text)
    assert set(extras) <= set(project["project"]["optional-dependencies"])
    version = re.search(r"python:(\d+\.\d+)-slim", text)
    assert version is not None
    assert f">={version[1]}" in project["project"]["requires-python"].replace(" ", "")
    sources = " ".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    for variable in re.findall(r"LEGATO_\w+", (DEPLOY / "Dockerfile").read_text()):
        assert f'"{variable}"' in sources, variable
