"""One fixture runs every case on every backend that this machine has."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from legato.backends.base import Backend
from legato.backends.registry import create_backend
from legato.config import EngineConfig, Precision, SimdPath
from legato.program.program import Program
from legato.tensor import Tensor
from op.steps import Part, make_step

_NEEDED_FLAGS: Mapping[SimdPath, set[str]] = {
    "portable": set(),
    "avx2": {"avx2", "fma", "f16c"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"},
}


def _backend_configs() -> list[EngineConfig]:
    """The reference, and the native backend on each instruction set that this CPU has.

    Once the extension is built a native backend that does not import is a failure, not a skip.
    """
    configs = [EngineConfig(backend="reference")]
    if importlib.util.find_spec("legato._native") is not None:
        configs += [
            EngineConfig(backend="native", simd=simd)
            for simd, flags in _NEEDED_FLAGS.items()
            if flags <= _cpu_flags()
        ]
    return configs


def _cpu_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((set(line.split()[2:]) for line in lines if line.startswith("flags")), set())


class BackendFactory(Protocol):
    """Makes a backend of the kind under test, with a KV pool."""

    def __call__(
        self,
        program: Program,
        tensors: Mapping[str, Tensor],
        *,
        num_threads: int = 2,
        precision: Precision = "balanced",
    ) -> Backend: ...


@dataclass(frozen=True)
class _Factory:
    config: EngineConfig
    stack: ExitStack = field(default_factory=ExitStack)

    def __call__(
        self,
        program: Program,
        tensors: Mapping[str, Tensor],
        *,
        num_threads: int = 2,
        precision: Precision = "balanced",
    ) -> Backend:
        config = EngineConfig(
            backend=self.config.backend,
            simd=self.config.simd,
            precision=precision,
            num_threads=num_threads,
            kv_dtype=program.kv.dtype,
            block_size=program.kv.block_size,
        )
        backend = create_backend(program, tensors, config)
        self.stack.callback(backend.close)
        backend.allocate_kv(128)
        return backend


def _name(config: EngineConfig) -> str:
    return "reference" if config.backend == "reference" else f"native-{config.simd}"


@pytest.fixture(params=_backend_configs(), ids=_name)
def make_backend(request: pytest.FixtureRequest) -> Iterator[BackendFactory]:
    factory = _Factory(request.param)
    with factory.stack:
        yield factory


@pytest.fixture
def make_reference() -> Iterator[BackendFactory]:
    factory = _Factory(EngineConfig(backend="reference"))
    with factory.stack:
        yield factory


Rows = Callable[[tuple[Program, dict[str, Tensor]], int], np.ndarray]


@pytest.fixture
def op_rows(make_backend: BackendFactory) -> Rows:
    """Runs a program of one op over tokens 0 … rows − 1: the op's output [rows, width]."""

    def run(case: tuple[Program, dict[str, Tensor]], rows: int) -> np.ndarray:
        blocks = list(range(-(-rows // case[0].kv.block_size)))
        output = make_backend(*case).run(make_step([Part(range(rows), 0, [blocks])]))
        assert output.logits is not None
        return output.logits

    return run
