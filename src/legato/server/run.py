"""`serve`: from a model and its settings to a server that runs until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import platform
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

import legato
from legato.assemble import Assembled, assemble
from legato.async_engine import AsyncEngine
from legato.clock import RealClock
from legato.config import EngineConfig
from legato.constrain.compiler import GrammarCompiler
from legato.errors import LegatoError
from legato.metrics.price import MachinePrice
from legato.metrics.prometheus import ServerMetrics
from legato.models.catalogue import CATALOGUE
from legato.models.model import Model
from legato.server.app import create_app
from legato.server.arrival import stamp_arrivals
from legato.server.connection import MAX_HEAD, READ_BYTES, Connection
from legato.server.engine_source import EngineSource, StepObserver
from legato.server.lifecycle import Lifecycle
from legato.server.log import configure_logging
from legato.server.service import Service
from legato.server.settings import ServerSettings
from legato.server.tracing import call_observers
from legato.server.watchdog import Watchdog
from legato.tools.dialect import style_of

STOP_TIMEOUT = 2  # seconds for the engine's last step, and again for the last error events
LOOPBACK = ("127.0.0.1", "::1", "localhost")
LOOPBACK_NAMES = ("127.0.0.1", "[::1]", "localhost")
API_KEYS_VARIABLE = "LEGATO_API_KEYS"


def serve(model: str | Path, config: EngineConfig, settings: ServerSettings) -> None:
    """Serve `model` until SIGTERM or SIGINT. Prints the URL when it answers.

    The first signal closes /ready at once and lets running answers finish within
    `settings.grace`; a second one ends them with an error.

    Raises:
        LegatoError: the port is busy, or what `assemble` raises.
    """
    settings = with_hosts(with_environment(settings, os.environ))
    check_tls(settings)
    configure_logging(settings)
    # A busy port or a missing package fails before loading.
    with listen(settings.host, settings.port) as listener, call_observers(settings) as observers:
        clock = RealClock()
        assembled = assemble(model, config, clock)
        metrics = ServerMetrics(lambda: source.status().gauges, machine_price(settings))
        engine = AsyncEngine(
            assembled.engine,
            clock,
            max_waiting=config.max_waiting,
            on_step=StepObserver(metrics),
        )
        source = EngineSource(engine)
        watchdog = Watchdog(lambda: engine.stats().last_step_age_s, settings.stall_after)
        engine.start()
        watchdog.start()
        try:
            lifecycle = Lifecycle()
            named = fingerprint(assembled.model, config)
            service = _service(model, assembled, source, named, settings)
            app = create_app(
                service, settings, lifecycle=lifecycle, metrics=metrics, observers=observers
            )
            GracefulServer(app, engine, lifecycle, settings).run(sockets=[listener])
        finally:
            watchdog.stop()
            engine.stop(STOP_TIMEOUT)


def with_environment(settings: ServerSettings, environment: Mapping[str, str]) -> ServerSettings:
    """Add the comma-separated keys in LEGATO_API_KEYS, which no process list shows.

    Raises LegatoError where the variable is set to nothing, which would leave the server open.
    """
    given = environment.get(API_KEYS_VARIABLE)
    keys = [] if given is None else list(filter(None, map(str.strip, given.split(","))))
    if given is not None and not keys:
        raise LegatoError(f"{API_KEYS_VARIABLE} is set but holds no key; unset it to need none")
    return replace(settings, api_keys=(*settings.api_keys, *keys))


def with_hosts(settings: ServerSettings) -> ServerSettings:
    """Decide which Host names are served: on a loopback address its own, unless others are given.

    A page that makes its own name resolve to this machine (DNS rebinding) is shut out by that.
    """
    if "*" in settings.allowed_hosts:
        return replace(settings, allowed_hosts=())
    if not settings.allowed_hosts and settings.host in LOOPBACK:
        return replace(settings, allowed_hosts=LOOPBACK_NAMES)
    return settings


def check_tls(settings: ServerSettings) -> None:
    """LegatoError where the certificate and key do not make HTTPS possible."""
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise LegatoError("HTTPS needs both --tls-certificate and --tls-key")
    if not settings.tls_certificate:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=lambda: "")
    except OSError as error:
        raise LegatoError(
            f"cannot use the certificate {settings.tls_certificate} with the key "
            f"{settings.tls_key}: {error.strerror or error}"
        ) from None


def served_name(model: str | Path, settings: ServerSettings) -> str:
    """The name clients use: the settings', else the catalogue's, else the file's or folder's."""
    if settings.model_name:
        return settings.model_name
    path = Path(model).expanduser()
    by_file = {entry.file_name: name for name, entry in CATALOGUE.items()}
    return by_file.get(path.name) or (path.resolve().name.removesuffix(".gguf"))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; LegatoError says why there can be none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port <= 65535:
        raise LegatoError(f"cannot listen on port {port}: --port takes 0 to 65535")
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
        # Inherited by every connection: no token waits for the acknowledgement of the one before.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stamp_arrivals(listener)
        return listener
    except OSError as error:
        raise LegatoError(
            f"cannot listen on {host} port {port} ({os.strerror(error.errno or 0)}); choose "
            "another with --port, 0 takes a free one"
        ) from None


def _service(
    model: str | Path,
    assembled: Assembled,
    source: EngineSource,
    named: str,
    settings: ServerSettings,
) -> Service:
    return Service(
        model=served_name(model, settings),
        source=source,
        tokenizer=assembled.tokenizer,
        template=assembled.template,
        tools=style_of(assembled.tokenizer.chat_template),
        grammars=GrammarCompiler(assembled.tokenizer),
        max_context=assembled.engine.max_context,
        created=int(time.time()),
        price=machine_price(settings),
        fingerprint=named,
    )


def fingerprint(model: Model, config: EngineConfig) -> str:
    """Of all that an answer with a seed depends on: the version, the weights' file by its name and
    size, the arithmetic, and the kind of CPU where that decides about instructions."""
    path = model.path
    size = path.stat().st_size if path.is_file() else 0
    arithmetic = (config.backend, config.simd, config.precision, config.kv_element)
    parts = (legato.__version__, path.name, size, *arithmetic, platform.machine())
    return f"legato-{legato.__version__}-{sha256(repr(parts).encode()).hexdigest()[:12]}"


def machine_price(settings: ServerSettings) -> MachinePrice | None:
    """The machine's price, where it has one; LegatoError where that is no price."""
    try:
        return MachinePrice(settings.price_per_hour) if settings.price_per_hour else None
    except ValueError:
        raise LegatoError(
            f"--price-per-hour {settings.price_per_hour} is no price: it takes a number from 0 on"
        ) from None


def connections(settings: ServerSettings) -> type[asyncio.Protocol]:
    """What uvicorn makes of each connection."""
    return partial(  # type: ignore[return-value]
        Connection,
        head_timeout=settings.head_timeout,
        write_timeout=settings.write_timeout,
        buffer=memoryview(bytearray(READ_BYTES)),
    )


class GracefulServer(uvicorn.Server):
    """A uvicorn that says where it listens, and that drains before it exits with status 0."""

    def __init__(
        self, app: FastAPI, engine: AsyncEngine, lifecycle: Lifecycle, settings: ServerSettings
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=connections(settings),
                h11_max_incomplete_event_size=MAX_HEAD,
                log_config=None,
                access_log=False,
                server_header=False,
                ssl_certfile=settings.tls_certificate or None,
                ssl_keyfile=settings.tls_key or None,
                lifespan="off",
                ws="none",
                timeout_graceful_shutdown=STOP_TIMEOUT,
            )
        )
        self._engine = engine
        self._lifecycle = lifecycle
        self._grace = settings.grace
        self._hurry = asyncio.Event()
        self._shutdown: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and print the URL once requests are answered."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            scheme = "https" if self.config.is_ssl else "http"
            print(f"Legato listens on {scheme}://{shown}:{port}", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal. It is not raised again afterwards, so that the exit status is 0."""
        self._loop.call_soon_threadsafe(self._on_signal)

    def _on_signal(self) -> None:
        self._lifecycle.draining = True
        if self._shutdown is None:
            self._shutdown = self._loop.create_task(self._drain())
        else:
            self._hurry.set()

    async def _drain(self) -> None:
        """Let answers finish, end those that do not, then let uvicorn exit, come what may."""
        idle = self._loop.create_task(self._lifecycle.idle())
        hurry = self._loop.create_task(self._hurry.wait())
        try:
            await asyncio.wait(
                (idle, hurry), timeout=self._grace, return_when=asyncio.FIRST_COMPLETED
            )
            await asyncio.to_thread(self._engine.stop, STOP_TIMEOUT)
            await asyncio.wait((idle,), timeout=STOP_TIMEOUT)
        finally:
            idle.cancel()
            hurry.cancel()
            self.should_exit = True
