"""How the server serves. A default exists once, here; the CLI reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Limits and policy of one server. Sizes in bytes, times in seconds.

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        api_keys: whoever has one may call; without any key the server is open to all.
        api_key_file: file of hashed keys with limits, made by `legato key`; empty is none.
        model_name: the name under which the model answers; empty takes it from its file.
        model_aliases: further names under which the model answers.
        allowed_hosts: Host header names that are served; "*" is any. Without one, a server on a
            loopback address serves its own names alone, any other server serves all.
        cors_origins: origins of web pages whose scripts may call, such as https://chat.example.
        tls_certificate: PEM file of a certificate chain; with `tls_key`, HTTPS is spoken.
        tls_key: PEM file of its private key, not encrypted.
        max_body: bytes of the largest request body; a larger one is refused with 413.
        head_timeout: seconds within which a request's head must have arrived, else 408.
        body_timeout: seconds within which a body must have arrived, else 408.
        max_json_depth: deepest nesting of arrays and objects in a body.
        stall_after: /health reports 503 when work waits and no step ended for so many seconds.
        request_timeout: an answer that is not complete after so many seconds ends with an
            error; 0 is never.
        write_timeout: a reader that takes nothing for so many seconds is cut off.
        price_per_hour: of this machine, in any currency; answers then tell what they cost. 0: they
            do not.
        grace: seconds that running answers may go on after SIGTERM.
        log_calls: write one line per call to standard error; never the text of a prompt.
        log_prompts: add the text of the prompt, its control tokens included, to that line.
        log_format: "text" for people, "json" for machines; a record is one line in both.
        log_level: least severe records that are written, besides calls.
        otel_endpoint: OpenTelemetry collector that gets a span per call over OTLP/HTTP, such as
            http://localhost:4318/v1/traces; empty sends none.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: tuple[str, ...] = ()
    api_key_file: str = ""
    model_name: str = ""
    model_aliases: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    tls_certificate: str = ""
    tls_key: str = ""
    max_body: int = 10_000_000
    head_timeout: float = 15.0
    body_timeout: float = 30.0
    max_json_depth: int = 64
    stall_after: float = 60.0
    request_timeout: float = 3600.0
    write_timeout: float = 60.0
    price_per_hour: float = 0.0
    grace: float = 30.0
    log_calls: bool = False
    log_prompts: bool = False
    log_format: LogFormat = "text"
    log_level: LogLevel = "warning"
    otel_endpoint: str = ""
