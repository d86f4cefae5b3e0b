"""Starting, failing to start, and stopping; with a fake engine in a process of its own."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from legato.config import EngineConfig
from legato.errors import FetchError, LegatoError, ModelFormatError
from legato.server.run import (
    check_tls,
    fingerprint,
    listen,
    machine_price,
    serve,
    served_name,
    with_environment,
    with_hosts,
)
from legato.server.settings import ServerSettings

HERE = Path(__file__).parent
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}


@contextmanager
def served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, str(HERE / "serve_fake.py"), *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Legato listens on http://127.0.0.1:")
        try:
            yield process, line.split()[-1]
        finally:
            process.kill()


@contextmanager
def stream(url: str) -> Iterator[Iterator[str]]:
    """The lines of a chat stream, of which three tokens have come."""
    with (
        httpx.Client(timeout=10) as client,
        client.stream("POST", f"{url}/v1/chat/completions", json=CHAT) as response,
    ):
        lines = response.iter_lines()
        for line in lines:
            if '"content": "l"' in line:
                break
        yield lines


def test_a_signal_closes_the_door_and_lets_answers_finish():
    with served("30", "finish") as (process, url), stream(url) as lines:
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{url}/ready").status_code != 503:
            pass
        refused = httpx.post(f"{url}/v1/chat/completions", json=CHAT)
        assert refused.status_code == 503
        assert refused.headers["connection"] == "close"
        assert process.poll() is None
        process.stdin.write("\n")
        process.stdin.flush()
        rest = list(lines)
        assert rest[-2] == "data: [DONE]"
        assert process.wait(5) == 0
        assert process.stderr.read() == ""


def test_a_signal_lets_thirty_two_streams_finish():
    with served("30", "finish") as (process, url), ExitStack() as stack:
        streams = [stack.enter_context(stream(url)) for _ in range(32)]
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{url}/ready").status_code != 503:
            pass
        process.stdin.write("\n")
        process.stdin.flush()
        assert [list(lines)[-2] for lines in streams] == ["data: [DONE]"] * 32
        assert process.wait(5) == 0


def test_a_second_signal_ends_answers_with_an_error():
    with served("30") as (process, url), stream(url) as lines:
        process.send_signal(signal.SIGTERM)
        while httpx.get(f"{url}/ready").status_code != 503:
            pass
        process.send_signal(signal.SIGINT)
        rest = list(lines)
        assert "engine_stopped" in rest[-2]
        assert process.wait(5) == 0


def test_answers_that_outlast_the_grace_end_with_an_error():
    with served("0") as (process, url), stream(url) as lines:
        process.send_signal(signal.SIGTERM)
        assert "engine_stopped" in list(lines)[-2]
        assert process.wait(5) == 0


def test_an_idle_server_stops_at_once():
    with served("30") as (process, url):
        assert httpx.get(f"{url}/ready").status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0


def test_a_busy_port_fails_before_anything_is_loaded():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(LegatoError, match=f"port {port}.*choose another"):
            serve("does-not-matter", EngineConfig(), ServerSettings(port=port))


@pytest.mark.parametrize("port", [-1, 70_000])
def test_a_port_that_cannot_be_is_one_line(port):
    with pytest.raises(LegatoError, match="cannot listen"):
        listen("127.0.0.1", port)


def test_a_host_that_is_not_ours_is_one_line():
    with pytest.raises(LegatoError, match="cannot listen"):
        listen("192.0.2.1", 0)


def test_a_model_that_is_not_there_never_listens(capsys, tmp_path):
    with pytest.raises(FetchError, match="no model at"):
        serve(tmp_path / "missing.gguf", EngineConfig(), ServerSettings(port=0))
    assert "listens" not in capsys.readouterr().out


def test_a_model_that_is_damaged_never_listens(capsys, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF\x03\x00")
    with pytest.raises(ModelFormatError):
        serve(broken, EngineConfig(), ServerSettings(port=0))
    assert "listens" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "settings", "name"),
    [
        ("/m/SmolLM2-135M-Instruct.Q4_1.gguf", ServerSettings(), "smollm2-135m-instruct"),
        ("/m/other.Q8_0.gguf", ServerSettings(), "other.Q8_0"),
        ("/m/folder/", ServerSettings(), "folder"),
        ("/m/other.gguf", ServerSettings(model_name="mine"), "mine"),
    ],
)
def test_a_model_is_served_under_a_name_that_people_know(model, settings, name):
    assert served_name(model, settings) == name


def test_keys_come_from_the_environment_too():
    settings = with_environment(ServerSettings(api_keys=("a",)), {"LEGATO_API_KEYS": "b, c,"})
    assert settings.api_keys == ("a", "b", "c")
    assert with_environment(ServerSettings(), {}).api_keys == ()
    with pytest.raises(LegatoError, match="LEGATO_API_KEYS"):
        with_environment(ServerSettings(), {"LEGATO_API_KEYS": " ,"})


@pytest.mark.parametrize(
    ("settings", "hosts"),
    [
        ({}, ("127.0.0.1", "[::1]", "localhost")),
        ({"host": "::1"}, ("127.0.0.1", "[::1]", "localhost")),
        ({"host": "0.0.0.0"}, ()),
        ({"allowed_hosts": ("a.example",)}, ("a.example",)),
        ({"allowed_hosts": ("*",)}, ()),
    ],
)
def test_a_server_on_loopback_serves_its_own_names_alone(settings, hosts):
    assert with_hosts(ServerSettings(**settings)).allowed_hosts == hosts


@pytest.mark.parametrize(
    "files",
    [("a.pem", ""), ("", "a.pem"), ("missing.pem", "missing.pem"), ("junk.pem", "junk.pem")],
)
def test_tls_files_that_do_not_fit_are_refused_at_the_start(tmp_path, files):
    (tmp_path / "junk.pem").write_text("-----BEGIN CERTIFICATE-----\nxx\n")
    certificate, key = (str(tmp_path / name) if name else "" for name in files)
    with pytest.raises(LegatoError):
        check_tls(ServerSettings(tls_certificate=certificate, tls_key=key))


@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_a_price_that_is_none_is_refused_at_the_start(price):
    with pytest.raises(LegatoError, match="price"):
        machine_price(ServerSettings(price_per_hour=price))


def test_the_fingerprint_changes_with_what_decides_about_tokens(tmp_path):
    file = tmp_path / "a.gguf"
    file.write_bytes(b"123")
    model = SimpleNamespace(path=file)
    plain = fingerprint(model, EngineConfig())
    assert plain == fingerprint(model, EngineConfig(max_sequences=3, speculate="suffix"))
    others = [EngineConfig(precision="exact"), EngineConfig(kv_dtype="f32")]
    file.write_bytes(b"1234")
    assert len({plain, *(fingerprint(model, config) for config in [EngineConfig(), *others])}) == 4
