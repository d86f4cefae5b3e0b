"""How many KV blocks an engine gets, and how long a sequence can be with them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from legato.config import EngineConfig
from legato.errors import CapacityError, InvalidRequestError
from legato.kvcache.cache import KVCache
from legato.program.program import KVLayout

FREE_MEMORY_SHARE = 0.25
"""Part of the memory that is free now which the KV pool may take by default."""

_log = logging.getLogger(__name__)


def check_sizes(config: EngineConfig) -> None:
    """Raise InvalidRequestError naming a size in `config` that no engine can have."""
    least = {"max_batch_tokens": 1, "max_sequences": 1, "max_waiting": 1, "block_size": 16}
    zeros = ("max_context", "num_kv_blocks", "kv_memory", "ttft_ms", "tbt_ms", "patience")
    least |= dict.fromkeys(zeros, 0)
    for name, bound in least.items():
        value = getattr(config, name)
        if not bound <= value < float("inf") or (name == "block_size" and value % 16):
            expected = "a multiple of 16" if name == "block_size" else f"at least {bound}"
            raise InvalidRequestError(f"{name} is {value}, expected {expected}", name)


def resolve_sizes(
    config: EngineConfig,
    layout: KVLayout,
    trained_context: int,
    free_bytes: int,
    draft_block_bytes: int = 0,
) -> EngineConfig:
    """`config` with `num_kv_blocks` and `max_context` filled in.

    The pool is what the config says, else a share of `free_bytes`, and then never more than
    `max_sequences` sequences of full length need; a block takes `draft_block_bytes` more in the
    pool of a draft model. Where one sequence of full length does not fit, an automatic
    `max_context` is lowered.

    Raises:
        CapacityError: `max_context` was asked for and is longer than the model or the pool allow.
    """
    context = config.max_context or trained_context
    if context > trained_context:
        raise CapacityError(
            f"max_context {context} is longer than the {trained_context} tokens that the model "
            "was trained for"
        )
    cache = _measure(layout, 0, context)
    needed = cache.blocks_for(context, config.max_batch_tokens)
    block_bytes = layout.block_bytes + draft_block_bytes
    blocks = config.num_kv_blocks or _affordable_blocks(config, block_bytes, needed, free_bytes)
    fits = _measure(layout, blocks, context).longest_sequence()
    if fits < context:
        least = 2 * layout.block_size
        _check_shorter_context(config, context, fits, least, blocks, blocks * block_bytes)
        _log.warning("max_context is %d, not %d: the KV pool holds no more", fits, context)
    return replace(config, num_kv_blocks=blocks, max_context=min(fits, context))


def _affordable_blocks(config: EngineConfig, block_bytes: int, needed: int, free_bytes: int) -> int:
    if config.kv_memory:
        return config.kv_memory // block_bytes
    affordable = int(free_bytes * FREE_MEMORY_SHARE) // block_bytes
    return min(affordable, needed * config.max_sequences)


def _check_shorter_context(
    config: EngineConfig, context: int, fits: int, least: int, blocks: int, size: int
) -> None:
    """A pool that is too small for `context` is an error where somebody asked for it, or where it
    does not even hold `least` tokens."""
    if not config.max_context and fits >= least:
        return
    raise CapacityError(
        f"the KV pool of {blocks} blocks ({size / 1e6:.1f} MB) holds a sequence of {fits} tokens, "
        f"not of {context}; raise kv_memory or num_kv_blocks, or lower max_context"
    )


def _measure(layout: KVLayout, blocks: int, context: int) -> KVCache:
    return KVCache(layout, blocks, num_slots=0, max_tokens=context, prefix_cache=False)


def free_memory_bytes(root: Path = Path("/")) -> int:
    """Bytes that this process can still take: what the kernel calls available, less where a
    control group allows less."""
    return max(0, min([_system_free(root), *_cgroup_free(root)]))


def _system_free(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux: half of what the machine has
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kilobytes) * 1024


def _cgroup_free(root: Path) -> Iterator[int]:
    """Limit less usage of the control group, for both versions of the interface."""
    groups = root / "sys/fs/cgroup"
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            texts = [(groups / name).read_text().strip() for name in (limit, usage)]
        except OSError:
            continue
        if all(text.isdigit() for text in texts):
            yield int(texts[0]) - int(texts[1])
