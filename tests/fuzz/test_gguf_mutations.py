"""Damaged GGUF files: an error of ours or a model, never anything else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from gguf_bytes import DATA_BYTES, gguf_file, u32, u64

from legato.errors import ModelFormatError
from legato.models.formats.gguf import read_gguf
from legato.models.load import load_model

GOOD = gguf_file()
HEADER_BYTES = len(GOOD) - DATA_BYTES
INTERESTING = [0, 1, 0x7F, 0x80, 0xFF, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63, (1 << 64) - 1]


def outcome(data: bytes, path: Path) -> str:
    """ "loaded" or "refused"; any other exception is a defect and comes through."""
    path.write_bytes(data)
    try:
        file = read_gguf(path)
    except ModelFormatError:
        return "refused"
    assert all(tensor.data.nbytes for tensor in file.tensors.values())
    return "loaded"


def test_truncation_at_every_byte_is_refused(tmp_path):
    needed = len(GOOD) - (DATA_BYTES - 256 - 68)
    for length in range(needed):
        assert outcome(GOOD[:length], tmp_path / "cut.gguf") == "refused", length
    assert outcome(GOOD[:needed], tmp_path / "cut.gguf") == "loaded"


@pytest.mark.parametrize("seed", range(4))
def test_random_byte_flips_never_escape(seed, tmp_path):
    rng = random.Random(seed)
    outcomes = set()
    for _ in range(600):
        data = bytearray(GOOD)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(HEADER_BYTES)] = rng.randrange(256)
        outcomes.add(outcome(data, tmp_path / "flipped.gguf"))
    assert outcomes == {"loaded", "refused"}


def test_interesting_integers_at_every_offset_never_escape(tmp_path):
    for offset in range(4, HEADER_BYTES - 8):
        value = INTERESTING[offset % len(INTERESTING)]
        field = u64(value) if offset % 2 else u32(value & 0xFFFFFFFF)
        data = GOOD[:offset] + field + GOOD[offset + len(field) :]
        outcome(data, tmp_path / "patched.gguf")


@pytest.mark.parametrize("seed", range(2))
def test_inserted_and_removed_bytes_never_escape(seed, tmp_path):
    rng = random.Random(seed)
    for _ in range(300):
        start = rng.randrange(HEADER_BYTES)
        inserted = rng.randbytes(rng.randint(0, 9))
        data = GOOD[:start] + inserted + GOOD[start + rng.randint(0, 9) :]
        outcome(data, tmp_path / "spliced.gguf")


@pytest.mark.parametrize("seed", range(2))
def test_flips_in_the_header_of_a_whole_model_never_escape_load_model(seed, tmp_path, whole_model):
    rng = random.Random(seed)
    path = tmp_path / "model.gguf"
    loaded = 0
    for _ in range(150):
        data = bytearray(whole_model)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(2500)] = rng.randrange(256)
        path.write_bytes(data)
        try:
            load_model(path)
        except ModelFormatError:
            continue
        loaded += 1
    assert loaded < 150
