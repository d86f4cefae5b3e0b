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


def test_a_missing_profile_is_none(tmp_path, caplog):
    assert load_profile(tmp_path, "key") is None
    assert not caplog.records


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: "\0", lambda text: "[]"])
def test_a_damaged_profile_is_ignored_with_a_line(tmp_path, caplog, damage):
    path = profile_path(tmp_path, "key")
    path.write_text(damage(DEFAULT_PROFILE.to_json()))
    assert load_profile(tmp_path, "key") is None
    (record,) = caplog.records
    assert str(path) in record.getMessage()


def test_a_profile_that_is_no_text_is_ignored(tmp_path):
    profile_path(tmp_path, "key").write_bytes(b"\xff\xfe")
    assert load_profile(tmp_path, "key") is None


def test_another_build_has_another_key(tmp_path, monkeypatch):
    config = EngineConfig()
    before = profile_key(PROGRAM, "native", config)
    built = tmp_path / "kernels.so"
    built.write_bytes(b"another build")
    monkeypatch.setattr("legato.cost.cache._native.__file__", str(built))
    assert profile_key(PROGRAM, "native", config) != before


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
