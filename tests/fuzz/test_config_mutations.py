"""Damaged hyper-parameters: an architecture or an error of ours, never anything else."""

from __future__ import annotations

import json
import random
from dataclasses import astuple
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from legato.errors import ModelFormatError
from legato.models.arch import ArchConfig
from legato.models.fields import Fields
from legato.models.registry import hf_family

CONFIGS = sorted((Path(__file__).parent.parent / "model" / "goldens").glob("*/config.json"))
FLOAT32_MAX = 3.4e38
JUNK = [
    None, True, False, 0, 1, -1, 2, 3, 7, (1 << 31) - 2, 1 << 31, 1 << 63, 10**40, 10**400,
    5e-324, 0.0, -0.0, 0.5, -1.5, 1e-300, 1e300, nan, inf, -inf, "", "1",
    "default", "yarn", "llama3", "linear", [], [1], {}, {"a": 1},
    ["full_attention"], {"rope_type": "yarn"}, {"full_attention": 3}, {"rope_type": []},
]  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_junk_in_any_key_of_a_config_never_escapes(path):
    good = json.loads(path.read_text())
    family = hf_family(good["model_type"])
    for target_path in key_paths(good):
        for junk in JUNK:
            check(family.from_config, replaced(good, target_path, junk))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_junk_in_several_keys_never_escapes(path):
    good = json.loads(path.read_text())
    family, rng = hf_family(good["model_type"]), random.Random(11)
    paths = key_paths(good)
    for _ in range(300):
        config = good
        for target_path in rng.sample(paths, 3):
            config = replaced(config, target_path, rng.choice(JUNK))
        check(family.from_config, config)


def check(from_config: Any, config: dict[str, Any]) -> None:
    try:
        arch = from_config(Fields(config))
    except ModelFormatError:
        return
    assert isinstance(arch, ArchConfig)
    assert all(abs(number) < FLOAT32_MAX for number in numbers(astuple(arch)))
    assert arch.num_heads % arch.num_kv_heads == 0


def numbers(value: Any) -> list[float]:
    if isinstance(value, tuple):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, int | float) else []


def key_paths(config: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    paths = []
    for key, value in config.items():
        paths.append((*prefix, key))
        if isinstance(value, dict):
            paths += key_paths(value, (*prefix, key))
    return paths


def replaced(config: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy with `value` at `path`, as far as the path still exists."""
    inner = config.get(path[0])
    if len(path) == 1 or not isinstance(inner, dict):
        return {**config, path[0]: value}
    return {**config, path[0]: replaced(inner, path[1:], value)}
