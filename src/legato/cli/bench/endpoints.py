"""The endpoints that a comparison measures: URLs, and a file with what each one needs."""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legato.cli.bench.options import EndpointOptions, PriceOptions
from legato.errors import LegatoError

if TYPE_CHECKING:
    from legato.bench.endpoint import Endpoint

TEXTS = ("api", "served_model", "key_variable")
PRICES = tuple(field.name for field in fields(PriceOptions))
KNOWN = ("url", *TEXTS, "extra", *PRICES)


def chosen_endpoints(
    urls: Sequence[str], file: Path | None, asking: EndpointOptions, paying: PriceOptions
) -> list[Endpoint]:
    """Those of the command line, then those of `file`; LegatoError where there are none."""
    found = [asking.endpoint(url, paying) for url in urls]
    if file is not None:
        found += read_endpoints(file, asking, paying)
    if not found:
        raise LegatoError("there is nothing to measure: give a URL, or --endpoints FILE")
    return found


def read_endpoints(path: Path, asking: EndpointOptions, paying: PriceOptions) -> list[Endpoint]:
    """The endpoints of a TOML file, one table each, by name.

    A table has a `url` and what differs from the command's options, by their names. An API key is
    sent only to those that name its environment variable: another's key is nobody's business.

    Raises:
        LegatoError: the file cannot be read, or says something else.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LegatoError(f"cannot read the endpoints in {path}: {error}") from None
    if not tables:
        raise LegatoError(f"{path} names no endpoint; each is a table such as [name] with a url")
    return [
        _endpoint(f"{path}, [{name}]", name, table, asking, paying)
        for name, table in tables.items()
    ]


def _endpoint(
    where: str, name: str, table: object, asking: EndpointOptions, paying: PriceOptions
) -> Endpoint:
    """`where` names the table in errors."""
    if not isinstance(table, Mapping):
        raise LegatoError(f"{where}: not a table; write [{name}] and below it url = …")
    _check(where, table)
    own = {"key_variable": "", **{key: table[key] for key in TEXTS if key in table}}
    if "extra" in table:
        own["extra"] = json.dumps(table["extra"])
    prices = {key: float(table[key]) for key in PRICES if key in table}
    options = replace(asking, **own)
    try:
        endpoint = options.endpoint(table["url"], PriceOptions(**prices) if prices else paying)
    except LegatoError as error:
        raise LegatoError(f"{where}: {error}") from None
    return replace(endpoint, name=name)


def _check(where: str, table: Mapping[str, Any]) -> None:
    if "key" in table:
        raise LegatoError(
            f"{where}: keys do not belong into files; put it into an environment variable and "
            'write its name: key_variable = "…"'
        )
    if unknown := sorted(table.keys() - set(KNOWN)):
        raise LegatoError(f"{where}: no such setting: {unknown[0]}; there are {', '.join(KNOWN)}")
    for key in ("url", *TEXTS):
        if not isinstance(table.get(key, ""), str) or (key == "url" and not table.get(key)):
            raise LegatoError(f'{where}: {key} must be a text: {key} = "…"')
    for key in PRICES:
        if not _is_amount(table.get(key, 0)):
            raise LegatoError(f"{where}: {key} must be a number that is not below 0")
    if not isinstance(table.get("extra", {}), Mapping):
        raise LegatoError(f"{where}: extra must be a table: extra = {{ ignore_eos = true }}")
    variable = table.get("key_variable")
    if variable and not os.environ.get(variable):
        raise LegatoError(f"{where}: the environment variable {variable} with its key is not set")


def _is_amount(value: object) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(float(value)) and float(value) >= 0  # type: ignore[arg-type]
