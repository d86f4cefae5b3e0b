"""The commands against a replayed server, in process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from legato.bench.objectives import read_profile
from legato.bench.replay import ReplayServer
from legato.bench.script import Script, Step, read_scripts
from legato.bench.serve import measure_in_turn
from legato.cli.bench.options import WorkloadOptions
from legato.cli.main import app
from legato.errors import LegatoError

LENGTHS = (10, 20, 40)
PRICES = {"cheap": 1.0, "dear": 8.0}


class Background:
    """A replayed server on a thread of its own."""

    def __init__(self) -> None:
        steps = (Step(after_ms=1, text="a"), Step(after_ms=1, text="b"))
        self._scripts = [Script(steps=steps, prompt_tokens=length) for length in LENGTHS]
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))
        self.url = ""

    async def _run(self) -> None:
        async with ReplayServer(self._scripts) as server:
            self.url = server.url
            self._ready.set()
            await self._stop.wait()

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def url() -> Iterator[str]:
    server = Background()
    server.start()
    yield server.url
    server.stop()


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["bench", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_serve_compare_and_report(url: str, tmp_path: Path) -> None:
    saved, page = tmp_path / "a.json", tmp_path / "a.html"
    options = ("--rate", "200", "--requests", "6", "--prompt-length", "3", "--served-model", "m")
    out = invoke("serve", url, url, *options, "--json", str(saved), "--html", str(page))
    runs = json.loads(out.splitlines()[-1])["runs"]
    assert [run["figures"]["requests"] for run in runs] == [6, 6]
    assert all(run["figures"]["failed"] == 0 for run in runs)
    assert "requests" not in runs[0]
    assert "</html>" in page.read_text(encoding="utf-8")
    differences = json.loads(invoke("compare", str(saved), str(saved)).splitlines()[-1])
    assert len(differences) == 2
    invoke("report", str(saved), str(saved), "--html", str(page))


def test_each_trial_has_prompts_of_its_own() -> None:
    prompts = {
        next(WorkloadOptions(seed=seed).workload(1.0, trial).conversations()).turns
        for seed in (0, 1)
        for trial in range(3)
    }
    assert len(prompts) == 6


def test_a_profile_is_saved_and_used(url: str, tmp_path: Path) -> None:
    saved = tmp_path / "profile.json"
    invoke("prefill", url, "--words", "1,2,3", "--repeats", "1", "--json", str(saved))
    assert read_profile(saved).seconds(20) > 0
    out = invoke("serve", url, "--requests", "1", "--rate", "500", "--prefill-profile", str(saved))
    assert json.loads(out.splitlines()[-1])["runs"][0]["objectives"]["profile"]["a"] >= 0


def test_capacity_ends_with_its_curve(url: str) -> None:
    options = ("--start", "100", "--highest", "200", "--duration", "0.1", "--prompt-length", "2")
    document = json.loads(invoke("capacity", url, *options).splitlines()[-1])
    assert document["rate"] == 200
    assert {point["rate"] for point in document["points"]} == {100, 200}


def test_endpoints_side_by_side_get_the_same_stream_at_once(url: str) -> None:
    options = ("--rate", "300", "--requests", "5", "--prompt-length", "3", "--served-model", "m")
    out = invoke("serve", url, url, "--together", *options, "--price-per-hour", "1")
    first, second = json.loads(out.splitlines()[-1])["runs"]
    assert first["figures"]["requests"] == second["figures"]["requests"] == 5
    assert first["workload"] == second["workload"]
    assert first["figures"]["cost"]["total"] > 0


def test_endpoints_of_a_file_are_compared_by_name_each_at_its_price(
    url: str, tmp_path: Path
) -> None:
    file, page = tmp_path / "endpoints.toml", tmp_path / "a.html"
    tables = [f'[{name}]\nurl = "{url}"\nprice_out = {price}' for name, price in PRICES.items()]
    file.write_text("\n".join(tables), encoding="utf-8")
    options = ("--rate", "200", "--requests", "2", "--prompt-length", "3", "--html", str(page))
    out = invoke("serve", "--endpoints", str(file), "--served-model", "m", *options)
    runs = json.loads(out.splitlines()[-1])["runs"]
    paid = {run["name"]: run["figures"]["cost"]["per_million_output_tokens"] for run in runs}
    assert paid == pytest.approx(PRICES)
    assert all(name in page.read_text(encoding="utf-8") for name in PRICES)


def test_an_interruption_ends_all_rates_on_all_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float]] = []

    def measured(group: list[str], workload: None, rate: float, *_: object) -> list[object]:
        asked.append((group[0], rate))
        return [{"figures": {"interrupted": len(asked) == 2}}]

    monkeypatch.setattr("legato.bench.serve.measure", measured)
    runs = measure_in_turn([["a"], ["b"]], [1.0, 2.0, 3.0], lambda *_: None, None)
    assert asked == [("a", 1.0), ("a", 2.0)]
    assert len(runs) == 2


@pytest.mark.parametrize(
    "options",
    [
        ("--rate", "x"),
        ("--api", "grpc"),
        ("--extra", "[1]"),
        ("--price-per-hour", "1", "--price-in", "2"),
        ("--watts", "50", "--price-per-kwh", "0.3", "--price-out", "2"),
        ("--prefill-profile", "/no/such"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["bench", "serve", "http://127.0.0.1:1", *options])
    assert isinstance(result.exception, LegatoError)


def test_an_address_where_nobody_answers_is_an_error() -> None:
    result = CliRunner().invoke(app, ["bench", "serve", "http://127.0.0.1:1"])
    assert isinstance(result.exception, LegatoError)
    assert "nobody answers" in str(result.exception)


def test_scripts_are_read_from_json_and_jsonl(tmp_path: Path) -> None:
    lines, whole = tmp_path / "s.jsonl", tmp_path / "s.json"
    record = {"steps": [{"after_ms": 1, "text": "a"}], "status": 200}
    lines.write_text(json.dumps(record) + "\n\n" + json.dumps(record))
    whole.write_text(json.dumps([record, record]))
    assert read_scripts(lines) == read_scripts(whole)
    assert read_scripts(whole)[0].steps[0].text == "a"


@pytest.mark.parametrize("text", ["[]", "{", '{"stauts": 1}', '{"steps": [{"txt": 1}]}'])
def test_a_script_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(LegatoError):
        read_scripts(path)


@pytest.mark.parametrize(
    "command", ["serve", "capacity", "prefill", "report", "compare", "replay", "engine"]
)
def test_every_measurement_explains_itself(command: str) -> None:
    assert "Usage" in invoke(command, "--help")


def test_comparing_files_with_different_numbers_of_runs_is_refused() -> None:
    counts = {"one.json": 1, "two.json": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("legato.bench.document.read_runs", lambda path: [{}] * counts[path.name])
        result = CliRunner().invoke(app, ["bench", "compare", *counts])
    assert isinstance(result.exception, LegatoError)
    assert "1 and 2 runs" in str(result.exception)
