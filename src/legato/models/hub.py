"""From what a user calls a model to a path: a local file, a cached one, or a fresh download."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from legato.errors import FetchError
from legato.models.catalogue import CATALOGUE, CatalogueEntry
from legato.models.fetch import Progress, SilentProgress, fetch_model


def cache_folder() -> Path:
    """Where models are kept: LEGATO_CACHE, or `legato` in the user's cache folder."""
    if chosen := os.environ.get("LEGATO_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "legato"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "legato"


def cached_path(entry: CatalogueEntry) -> Path:
    """Where the model of `entry` lies once fetched. The hash is in the name, so it never stales."""
    return cache_folder() / "models" / entry.sha256[:12] / entry.file_name


def resolve_model(name_or_path: str | Path, progress: Progress | None = None) -> Path:
    """The path of a model file or folder, fetching it first where `name_or_path` is a known name.

    Raises FetchError where it is neither a path that exists nor a name of the catalogue, or where
    the download fails.
    """
    path = Path(name_or_path).expanduser()
    if path.exists():
        return path
    entry = CATALOGUE.get(str(name_or_path).lower())
    if entry is None:
        known = ", ".join(sorted(CATALOGUE))
        raise FetchError(
            f"no model at {str(name_or_path)!r}: give a .gguf file, a folder with safetensors, "
            f"or one of these names: {known}"
        )
    target = cached_path(entry)
    if not target.exists() or target.stat().st_size != entry.size:
        fetch_model(entry, target, progress or SilentProgress())
    return target
