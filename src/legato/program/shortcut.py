"""A cheaper way through a model, over the same weights and the same KV cache.

Some layers are left out and the rest run as ever, so that what comes out is a guess of what the
whole model would say (self-speculation: Zhang et al. 2023, "Draft & Verify", arXiv 2309.08168).
The head may know the first tokens of the vocabulary only: byte-pair encodings number their tokens
in the order of their merges, the frequent ones first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from legato.models.arch import ArchConfig
from legato.tensor import Tensor

HEAD = "head.first"
"""Name of the head's first rows among the weights."""


@dataclass(frozen=True, slots=True)
class Shortcut:
    """What is left of a model.

    Attributes:
        layers: those that run, ascending.
        head_rows: tokens that it can choose, the first ones of the vocabulary.
    """

    layers: tuple[int, ...]
    head_rows: int


def head_weight(arch: ArchConfig) -> str:
    """Name of the matrix that makes logits."""
    return "embed.weight" if arch.tied_head else "head.weight"


def shortcut_weights(
    arch: ArchConfig, weights: Mapping[str, Tensor], shortcut: Shortcut
) -> dict[str, Tensor]:
    """`weights` and the head of `shortcut`: a view of the first rows, no bytes of its own."""
    head = weights[head_weight(arch)]
    rows, columns = shortcut.head_rows, head.shape[1]
    data = head.data.reshape(-1)[: rows * head.format.row_bytes(columns)]
    return {**weights, HEAD: Tensor(HEAD, (rows, columns), head.format, data)}
