"""API keys: made, kept as hashes, found in constant time.

A key is random and long, so that one SHA-256 of it is as good as a slow hash of a password.
"""

from __future__ import annotations

import hmac
import re
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from legato.core import Tenant
from legato.errors import LegatoError

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLimits:
    """What one key may use; 0 is no limit.

    Attributes:
        weight: its part of a busy machine beside the weights of other keys; 0 counts as 1.
        concurrent: calls at the same time.
        requests_per_minute: calls, on average and as a burst.
        tokens_per_minute: tokens of prompts and answers; what an answer took beyond it is waited
            for before the next.
    """

    weight: int = 0
    concurrent: int = 0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key by its name, which may be shown, and its SHA-256."""

    name: str
    digest: bytes
    limits: KeyLimits = KeyLimits()

    @property
    def tenant(self) -> Tenant:
        """Who is charged for its calls."""
        return Tenant(self.name, max(1, self.limits.weight))


class KeyRing:
    """The keys of one server. Without any, everybody may call."""

    def __init__(self, keys: Sequence[ApiKey]) -> None:
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def find(self, authorization: bytes) -> ApiKey | None:
        """The key in an Authorization header. The time tells nothing about which it is."""
        scheme, _, key = authorization.partition(b" ")
        digest = sha256(key.strip()).digest()
        found = None
        for known in self._keys:
            if hmac.compare_digest(digest, known.digest):
                found = known
        return found if scheme.lower() == b"bearer" else None


def given_keys(keys: Sequence[str]) -> list[ApiKey]:
    """Keys given in clear, named key-1, key-2 and so on. LegatoError for an empty one."""
    if not all(keys):
        raise LegatoError("an API key is empty; anybody could guess it")
    named = enumerate(keys, 1)
    return [ApiKey(f"key-{number}", sha256(key.encode()).digest()) for number, key in named]


def read_keys(path: Path) -> list[ApiKey]:
    """The keys of a file that `legato key` wrote: one TOML table each.

    Raises LegatoError where it cannot be read or says something else.
    """
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LegatoError(f"cannot read the API keys in {path}: {error}") from None
    if not tables:
        raise LegatoError(f"{path} holds no API key; make one with: legato key {path} NAME")
    return [_key_of(path, name, table) for name, table in tables.items()]


def _key_of(path: Path, name: str, table: Any) -> ApiKey:  # noqa: ANN401 - any TOML value
    known = {field.name for field in fields(KeyLimits)} | {"sha256"}
    if not NAME.fullmatch(name) or not isinstance(table, Mapping) or not table.keys() <= known:
        raise LegatoError(f"{path}: [{name}] takes {', '.join(sorted(known))} and nothing else")
    digest, limits = table.get("sha256"), {k: v for k, v in table.items() if k != "sha256"}
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise LegatoError(f"{path}: [{name}] needs sha256, 64 hexadecimal digits")
    if not all(type(value) is int and value >= 0 for value in limits.values()):
        raise LegatoError(f"{path}: limits of [{name}] are integers from 0 on")
    return ApiKey(name, bytes.fromhex(digest), KeyLimits(**limits))


def make_key(path: Path, name: str, limits: KeyLimits) -> str:
    """A new random key, whose hash is added to the file. It is told here and nowhere else.

    Raises LegatoError where the name is taken or no name, or the file is not one of keys.
    """
    if not NAME.fullmatch(name):
        raise LegatoError("a key's name has 1 to 64 letters, digits, - and _")
    if path.exists() and any(key.name == name for key in read_keys(path)):
        raise LegatoError(f"{path} has a key named {name} already")
    key = f"sk-{secrets.token_urlsafe(32)}"
    lines = [f"[{name}]", f'sha256 = "{sha256(key.encode()).hexdigest()}"']
    lines += [f"{field} = {value}" for field, value in asdict(limits).items() if value]
    _append(path, "\n".join(lines) + "\n\n")
    return key


def _append(path: Path, text: str) -> None:
    try:
        path.touch(mode=0o600)
        with path.open("a") as file:
            file.write(text)
    except OSError as error:
        raise LegatoError(f"cannot write {path}: {error.strerror}") from None
