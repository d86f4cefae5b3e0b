from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from asgi_client import AsgiClient
from fake_source import FakeSource, make_service
from live_server import LiveServer

from legato.server.app import create_app
from legato.server.settings import ServerSettings


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def client(source: FakeSource) -> AsgiClient:
    return AsgiClient(create_app(make_service(source), ServerSettings()))


@pytest.fixture
def live(source: FakeSource) -> Iterator[LiveServer]:
    with LiveServer(create_app(make_service(source), ServerSettings())) as server:
        yield server


@pytest.fixture
def chat_body() -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
