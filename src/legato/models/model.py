"""A loaded model: architecture, weights in the bytes of the file, and its tokenizer's source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from legato.models.arch import ArchConfig
from legato.tensor import Tensor
from legato.text.source import TokenizerSource


@dataclass(frozen=True, slots=True)
class Model:
    """What `load_model` gives. `weights` are keyed by canonical name (models/names.py)."""

    name: str
    path: Path
    arch: ArchConfig
    weights: Mapping[str, Tensor]
    tokenizer: TokenizerSource
