"""Short ways to say `StepInput` and `SamplingInput`; other suites use them too."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from legato.backends.base import SamplingInput, StepInput

_FIELDS: Mapping[str, tuple[Any, Any]] = {
    "temperature": (np.float32, 0.0),
    "top_k": (np.int32, 0),
    "top_p": (np.float32, 1.0),
    "min_p": (np.float32, 0.0),
    "presence": (np.float32, 0.0),
    "frequency": (np.float32, 0.0),
    "repetition": (np.float32, 1.0),
    "seed": (np.uint64, 0),
    "sample_index": (np.uint32, 0),
    "position": (np.int32, 0),
    "num_logprobs": (np.int32, -1),
}


def sampling_input(
    rows: int,
    vocab_size: int,
    *,
    bias: Sequence[Mapping[int, float]] | None = None,
    seen: Sequence[Mapping[int, int]] | None = None,
    allowed: Sequence[Collection[int] | None] | None = None,
    **fields: Any,
) -> SamplingInput:
    """Greedy for every row unless told otherwise; scalars hold for all rows.

    `bias` and `seen` are one mapping a row, `allowed` one set of tokens a row (None: no mask).
    """
    values = {
        name: np.broadcast_to(np.asarray(fields.pop(name, default), dtype), rows).copy()
        for name, (dtype, default) in _FIELDS.items()
    }
    assert not fields, f"unknown fields {fields}"
    bias_starts, bias_ids, bias_values = _ragged(bias or [{}] * rows, np.float32)
    seen_starts, seen_ids, seen_counts = _ragged(seen or [{}] * rows, np.int32)
    mask_index, masks = _masks(allowed or [None] * rows, vocab_size)
    return SamplingInput(
        **values,
        bias_starts=bias_starts,
        bias_ids=bias_ids,
        bias_values=bias_values,
        seen_starts=seen_starts,
        seen_ids=seen_ids,
        seen_counts=seen_counts,
        mask_index=mask_index,
        masks=masks,
    )


def _ragged(rows: Sequence[Mapping[int, Any]], dtype: Any) -> tuple[np.ndarray, ...]:
    starts = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    ids = np.array([i for row in rows for i in row], np.int32)
    return starts, ids, np.array([v for row in rows for v in row.values()], dtype)


def _masks(
    allowed: Sequence[Collection[int] | None], vocab_size: int
) -> tuple[np.ndarray, np.ndarray]:
    index, masks = [], []
    for tokens in allowed:
        index.append(-1 if tokens is None else len(masks))
        if tokens is not None:
            words = np.zeros(-(-vocab_size // 32), np.uint32)
            for token in tokens:
                words[token // 32] |= np.uint32(1 << (token % 32))
            masks.append(words)
    table = np.array(masks, np.uint32).reshape(len(masks), -(-vocab_size // 32))
    return np.array(index, np.int32), table


@dataclass(frozen=True)
class Part:
    """One sequence's share of a step: new tokens after `past` cached ones; tables [G][B]."""

    tokens: Sequence[int]
    past: int
    tables: Sequence[Sequence[int]]


def make_step(
    parts: Sequence[Part],
    *,
    outputs: Sequence[int] | None = None,
    sampling: SamplingInput | None = None,
) -> StepInput:
    """A step over `parts` that gives the logits of `outputs` (all rows unless told otherwise)."""
    counts = [len(part.tokens) for part in parts]
    width = max(len(table) for part in parts for table in part.tables)
    groups = len(parts[0].tables)
    tables = np.full((groups, len(parts), width), -1, np.int32)
    for s, part in enumerate(parts):
        for g, table in enumerate(part.tables):
            tables[g, s, : len(table)] = table
    rows = np.arange(sum(counts)) if outputs is None else outputs
    return StepInput(
        token_ids=np.concatenate([np.asarray(part.tokens, np.int32) for part in parts]),
        positions=np.concatenate(
            [np.arange(p.past, p.past + len(p.tokens), dtype=np.int32) for p in parts]
        ),
        query_starts=np.cumsum([0, *counts]).astype(np.int32),
        kv_lengths=np.array([p.past + len(p.tokens) for p in parts], np.int32),
        block_tables=tables,
        output_rows=np.asarray(rows, np.int32),
        sampling=sampling,
        want_logits=True,
    )


def good_step() -> StepInput:
    """Two sequences in one group: three new tokens, and one after 17 cached ones."""
    return make_step([Part([1, 2, 3], 0, [[0]]), Part([4], 17, [[2, 3]])])


def i32(*values: int) -> np.ndarray:
    """`values` as an array of i32."""
    return np.array(values, np.int32)
