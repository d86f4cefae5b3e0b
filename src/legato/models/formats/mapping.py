"""A file as a read-only memory map."""

from __future__ import annotations

import mmap
from pathlib import Path

from legato.errors import ModelFormatError


def map_file(path: Path) -> mmap.mmap:
    """Map all of `path`. Raises ModelFormatError where it is empty or cannot be read.

    The file must not be truncated while it is in use: the kernel then kills the process at the
    next access to a lost page (SIGBUS), as with every memory map. Replacing it is safe.
    """
    if path.exists() and not path.is_file():
        raise ModelFormatError("it is no regular file")
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise ModelFormatError("it is empty") from None
    except OSError as error:
        raise ModelFormatError(f"it cannot be read: {error.strerror}") from None
