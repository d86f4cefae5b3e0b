"""Tables of followers on disk, one for each model, beside the profiles of the machine."""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from legato.speculative.ngrams import NUM_CLASSES, Follower, NGramTable
from legato.tensor import Tensor
from legato.whole_file import whole_file

VERSION = 2
"""Of the hashes and classes: a table of another version counts as none."""

_SAMPLE_BYTES = 256

_log = logging.getLogger(__name__)


def followers_path(folder: Path, weights: Mapping[str, Tensor]) -> Path:
    """Where the table of the model with these weights lies in `folder`.

    A model is known by the first bytes of each of its weights.
    """
    digest = hashlib.sha256(str(VERSION).encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name} {tensor.shape} {tensor.format.label}\n".encode())
        digest.update(tensor.data.reshape(-1)[:_SAMPLE_BYTES].tobytes())
    return folder / f"followers-{digest.hexdigest()[:32]}.npz"


def save_followers(path: Path, table: NGramTable) -> None:
    """Write `table`, whole or not at all. Raises OSError."""
    keys, tokens, classes = table.arrays()
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(
            file, keys=keys, tokens=tokens, classes=classes, rates=np.array(table.rates)
        )


def load_followers(path: Path) -> NGramTable:
    """The table at `path`; an empty one where there is none. One that is damaged counts as none,
    and the log says so."""
    try:
        with path.open("rb") as raw, np.load(raw) as file:
            keys, tokens, classes = (file[n].tolist() for n in ("keys", "tokens", "classes"))
            rates = file["rates"].tolist()
        if len(rates) != NUM_CLASSES or max(classes, default=0) >= NUM_CLASSES:
            raise ValueError("it has other classes than expected")
        found = map(Follower, tokens, classes)
        return NGramTable(dict(zip(keys, found, strict=True)), rates)
    except FileNotFoundError:
        return NGramTable()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _log.warning("the table %s is ignored (%s); run legato calibrate --own-texts", path, error)
        return NGramTable()
