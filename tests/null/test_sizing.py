from __future__ import annotations

import pytest
from fake_backend import fake_program

from legato.config import EngineConfig
from legato.errors import CapacityError, InvalidRequestError
from legato.kvcache.sizing import FREE_MEMORY_SHARE, check_sizes, free_memory_bytes, resolve_sizes

LAYOUT = fake_program((None, 24)).kv
BLOCK_BYTES = LAYOUT.block_bytes


def resolve(free_blocks: int = 10**6, trained: int = 256, **config: object) -> EngineConfig:
    return resolve_sizes(EngineConfig(**config), LAYOUT, trained, free_blocks * BLOCK_BYTES)


def test_what_the_config_says_is_taken():
    assert resolve(num_kv_blocks=50).num_kv_blocks == 50
    assert resolve(kv_memory=50 * BLOCK_BYTES + 1).num_kv_blocks == 50


def test_the_default_is_a_share_of_what_is_free():
    assert resolve(free_blocks=400).num_kv_blocks == 400 * FREE_MEMORY_SHARE


def test_no_more_is_taken_than_all_sequences_need():
    config = resolve(max_sequences=2, max_batch_tokens=1)
    assert config.num_kv_blocks == 2 * (16 + 3)


def test_an_automatic_context_is_lowered_to_what_fits(caplog):
    config = resolve(free_blocks=40)
    assert config.num_kv_blocks == 10
    assert config.max_context == 16 * 7
    assert "112" in caplog.text


def test_a_context_that_was_asked_for_must_fit():
    with pytest.raises(CapacityError, match="not of 256"):
        resolve(free_blocks=40, max_context=256)


def test_the_context_cannot_be_longer_than_trained():
    with pytest.raises(CapacityError, match="trained"):
        resolve(max_context=257)


def test_no_memory_at_all_is_an_error():
    with pytest.raises(CapacityError):
        resolve(free_blocks=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_sequences", 0), ("max_batch_tokens", 0), ("kv_memory", -1), ("block_size", 24)],
)
def test_a_setting_out_of_range_is_named(field, value):
    with pytest.raises(InvalidRequestError, match=field):
        check_sizes(EngineConfig(**{field: value}))


def write(root, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_free_memory_is_the_least_of_machine_and_control_group(tmp_path):
    write(tmp_path, "proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n")
    assert free_memory_bytes(tmp_path) == 4_096_000
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    write(tmp_path, "sys/fs/cgroup/memory.current", "5\n")
    assert free_memory_bytes(tmp_path) == 4_096_000
    write(tmp_path, "sys/fs/cgroup/memory.max", "1000\n")
    assert free_memory_bytes(tmp_path) == 995
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "100")
    write(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", "200")
    assert free_memory_bytes(tmp_path) == 0
