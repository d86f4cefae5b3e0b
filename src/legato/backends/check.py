"""Checks a step against the contract of `StepInput`, so that a broken caller fails at once."""

from __future__ import annotations

import numpy as np

from legato.backends.base import StepInput
from legato.errors import BackendError
from legato.program.program import Program


def check_step(step: StepInput, program: Program, *, num_blocks: int) -> None:
    """Raise BackendError that names the field which breaks the contract."""
    _check_rows(step, program)
    _check_sequences(step, program)
    for index, group in enumerate(program.kv.groups):
        _check_tables(step, program, index, group.window, num_blocks)


def _check_rows(step: StepInput, program: Program) -> None:
    tokens, outputs = step.token_ids, step.output_rows
    _require(len(tokens) > 0, "token_ids is empty: a step needs at least one row")
    _require(len(step.positions) == len(tokens), "positions and token_ids differ in length")
    _require(_within(tokens, program.vocab_size), "token_ids has an id outside the vocabulary")
    _require(_within(outputs, len(tokens)), "output_rows names a row that is not in the step")
    _require(bool((np.diff(outputs) > 0).all()), "output_rows must ascend")
    if step.sampling is not None:
        rows = len(step.sampling.temperature)
        _require(rows == len(outputs), f"sampling has {rows} rows, output_rows {len(outputs)}")


def _check_sequences(step: StepInput, program: Program) -> None:
    counts = np.diff(step.query_starts)
    _require(len(counts) == len(step.kv_lengths), "kv_lengths needs one entry per sequence")
    _require(bool((counts > 0).all()), "query_starts must ascend: a sequence has no rows")
    whole = step.query_starts[0] == 0 and step.query_starts[-1] == len(step.token_ids)
    _require(bool(whole), "query_starts must run from 0 to the number of rows")
    ends = np.repeat(step.kv_lengths - step.query_starts[1:], counts)
    expected = ends + np.arange(len(step.positions))
    _require(
        np.array_equal(step.positions, expected),
        "positions of a sequence must be consecutive and end at kv_lengths - 1",
    )
    _require(bool((step.positions >= 0).all()), "kv_lengths is below a sequence's number of rows")
    longest = int(step.kv_lengths.max())
    limit = program.max_context
    _require(longest <= limit, f"kv_lengths has {longest}, above the context of {limit}")


def _check_tables(
    step: StepInput, program: Program, group: int, window: int | None, num_blocks: int
) -> None:
    """Every position that the step reads or writes has a block of the pool."""
    tables = step.block_tables[group]
    first = step.positions[step.query_starts[:-1]]
    reach = program.max_context if window is None else window
    begins = np.maximum(first - reach + 1, 0) // program.kv.block_size
    ends = -(-step.kv_lengths // program.kv.block_size)
    for sequence, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        _require(
            end <= tables.shape[1] and _within(tables[sequence, begin:end], num_blocks),
            f"block_tables[{group}, {sequence}, {begin}:{end}] must be blocks of the pool",
        )


def _within(values: np.ndarray, limit: int) -> bool:
    return bool(((values >= 0) & (values < limit)).all())


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise BackendError(f"malformed step: {message}")
