"""A profile is found again by what it holds for, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("legato._native")

from legato.config import EngineConfig
from legato.cost.cache import load_profile, profile_key, profile_path, save_profile
from legato.cost.machine import DEFAULT_PROFILE
from null.fake_backend import fake_program

PROGRAM = fake_program()


def test_a_saved_profile_is_loaded_again(tmp_path):
    folder = tmp_path / "new" / "profiles"
    path = save_profile(folder, "key", DEFAULT_PROFILE)
    assert load_profile(folder, "key") == DEFAULT_PROFILE
    assert list(folder.iterdir()) == [path]


def test_a_missing_or_damaged_profile_is_none(tmp_path):
    assert load_profile(tmp_path, "key") is None
    profile_path(tmp_path, "key").write_text(DEFAULT_PROFILE.to_json()[:-9])
    assert load_profile(tmp_path, "key") is None


def test_the_key_knows_program_backend_threads_and_precision():
    config = EngineConfig(num_threads=2)
    keys = {
        profile_key(PROGRAM, "native/avx2", config),
        profile_key(PROGRAM, "native/avx512", config),
        profile_key(PROGRAM, "native/avx2", replace(config, num_threads=1)),
        profile_key(PROGRAM, "native/avx2", replace(config, precision="fast")),
        profile_key(fake_program(windows=(24,)), "native/avx2", config),
    }
    assert len(keys) == 5


def test_the_key_does_not_change_with_the_load_that_is_allowed():
    small = EngineConfig(max_waiting=3, max_sequences=2)
    assert profile_key(PROGRAM, "native", small) == profile_key(PROGRAM, "native", EngineConfig())
