"""Measures what this machine takes for the steps of one program on one backend, in seconds.

Each step of a fixed design is timed a few times, small steps more often than large ones, until the
time is used up; `timing.py` says which of the times count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from legato import _native
from legato.backends.base import Backend
from legato.backends.native.cpus import usable_cpus
from legato.clock import Clock
from legato.config import EngineConfig
from legato.cost.driver import StepDriver
from legato.cost.estimate import ProgramWork
from legato.cost.fit import fit_profile
from legato.cost.machine import MachineProfile
from legato.cost.timing import Report, TimedStep, time_steps, typical_steps
from legato.errors import CapacityError
from legato.program.ops import StepShape
from legato.program.program import Program

POOL_TOKENS = 16384
"""Cached tokens that the timed steps attend to; bounds the memory of a calibration."""

PROBE_BYTES = 128 << 20
WARM_TOKENS = 256
LEAST_TIMES = 1


def decodes(batch: int, past: int) -> StepShape:
    """`batch` sequences that decode, `past` tokens deep on average, from half to one and a half
    times as deep: streams of a server differ, and so does what each thread gets to do."""
    depths = [past * (batch + 1 + 2 * i) // (2 * batch) for i in range(batch)]
    return StepShape(tuple((1, depth) for depth in depths), batch)


_DECODES = tuple(
    decodes(batch, past)
    for batch, depths in (
        (1, (16, 500, 1800)),
        (2, (16, 900)),
        (4, (16, 500, 1300)),
        (8, (16, 500, 1300)),
        (12, (200,)),
        (16, (16, 500)),
        (24, (300,)),
        (32, (16, 450)),
    )
    for past in depths
)
_PREFILLS = tuple(
    StepShape(((rows, past),), outputs)
    for rows, past, outputs in (
        (2, 300, 0),
        (8, 0, 1),
        (8, 900, 0),
        (16, 0, 1),
        (32, 0, 0),
        (32, 1000, 1),
        (64, 0, 1),
        (64, 1500, 0),
        (128, 0, 1),
        (128, 500, 0),
        (256, 0, 1),
        (256, 1500, 0),
        (512, 0, 1),
    )
)
_MIXED = (
    StepShape((*decodes(8, 300).sequences, (56, 100)), 9),
    StepShape((*decodes(16, 300).sequences, (112, 0)), 16),
    StepShape((*decodes(32, 300).sequences, (400, 200)), 32),
    StepShape(((8, 100),) * 12, 12),
)
_VERIFIES = tuple(
    StepShape(((rows, past),) * batch, rows * batch)
    for batch, rows, past in (
        (1, 2, 300),
        (1, 3, 100),
        (1, 4, 600),
        (1, 6, 200),
        (1, 9, 200),
        (1, 14, 300),
        (4, 2, 300),
        (8, 3, 200),
    )
)
DESIGN = (*_DECODES, *_PREFILLS, *_MIXED, *_VERIFIES)
"""Decodes at several batch sizes and depths, chunks with and without an output row, both, and
drafts to verify, of which every row is sampled."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted profile and how it came about.

    Attributes:
        steps: the typical times that it was fitted to.
        beside: all times of the steps that were timed along with these, in order.
        calm_share: of the steps, timed while nobody else used the machine; 0 to 1.
    """

    profile: MachineProfile
    steps: tuple[TimedStep, ...]
    beside: tuple[TimedStep, ...]
    calm_share: float


def make_driver(program: Program, backend: Backend, config: EngineConfig) -> StepDriver:
    """A driver on `backend`, which has no KV pool yet. Raises CapacityError: no memory for it."""
    chunk = min(WARM_TOKENS, config.max_batch_tokens)
    return StepDriver(program, backend, pool_tokens=POOL_TOKENS, depth=WARM_TOKENS, chunk=chunk)


def calibrate(
    driver: StepDriver,
    config: EngineConfig,
    clock: Clock,
    *,
    seconds: float,
    beside: Sequence[StepShape] = (),
    report: Report = lambda share: None,
) -> Calibration:
    """Measure the machine's ceilings, time steps for about `seconds`, and fit.

    Args:
        beside: steps to time in the same rounds, which the fit does not see.

    Raises CapacityError where `config` allows too few of the timed steps.
    """
    threads = config.num_threads or usable_cpus()
    bandwidth = _native.measure_bandwidth(threads, PROBE_BYTES) * 1e9
    int8_macs = _native.measure_int8_peak(threads) * 1e9
    shapes = set(possible_shapes(DESIGN, driver, config))
    others = set(possible_shapes(beside, driver, config)) - shapes
    everything = [shape for shape in dict.fromkeys((*DESIGN, *beside)) if shape in shapes | others]
    timed = time_steps(driver, everything, clock, seconds=seconds, least=LEAST_TIMES, report=report)
    steps = typical_steps([step for step in timed if step.shape in shapes])
    work = ProgramWork.of(driver.program)
    try:
        profile = fit_profile(work, steps, bandwidth=bandwidth, int8_macs=int8_macs)
    except ValueError as error:
        raise CapacityError(
            f"cannot calibrate: {error}; raise max_batch_tokens, max_sequences or max_context"
        ) from error
    calm = sum(step.calm for step in timed) / len(timed)
    unseen = tuple(step for step in timed if step.shape in others)
    return Calibration(profile, tuple(steps), unseen, calm)


def possible_shapes(
    shapes: Sequence[StepShape], driver: StepDriver, config: EngineConfig
) -> list[StepShape]:
    """Those that the configuration and the driver's pool allow."""
    return [
        shape
        for shape in shapes
        if shape.tokens <= config.max_batch_tokens
        and len(shape.sequences) <= config.max_sequences
        and driver.fits(shape)
    ]
