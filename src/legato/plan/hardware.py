"""Machines by their data sheets, and how much of that a decoder gets out of them.

The bandwidth and compute of all chips add up: weights are split over them (tensor parallelism).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from legato.errors import InvalidRequestError

GB, TB, TFLOPS = 1e9, 1e12, 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One machine.

    Attributes:
        bandwidth: bytes a second that all chips read from their memory together, by data sheet.
        peak_flops: dense bf16 operations a second, likewise.
        memory: bytes.
        efficiency: share of the bandwidth that decoding reaches.
        compute_efficiency: share of the peak that it reaches with many rows.
        layer_s: seconds that a layer takes beyond that: launching, and exchange between chips.
        sources: of the data sheet, then of efficiency and layer time.
    """

    name: str
    bandwidth: float
    peak_flops: float
    memory: float
    efficiency: float
    compute_efficiency: float
    layer_s: float
    sources: tuple[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """What a decoder gets out of a kind of machine (see `Hardware`), and how that is known."""

    efficiency: float
    compute_efficiency: float
    layer_s: float
    source: str


_NEURON = _Fit(
    efficiency=0.93,
    compute_efficiency=0.5,
    layer_s=70e-6,
    source="fitted to published medians of Llama 2 on it: 70B 20.6 ms and 7B 3.7 ms a token",
)
_ONE_GPU = _Fit(
    efficiency=0.75,
    compute_efficiency=0.6,
    layer_s=10e-6,
    source="fitted to a published 158 tokens/s of Llama 3.1 8B, bf16, batch 1, on an H100",
)
_EIGHT_GPUS = _Fit(
    efficiency=0.75,
    compute_efficiency=0.5,
    layer_s=30e-6,
    source="assumed: as one H100, and two exchanges between chips in each layer",
)
_CPU = _Fit(
    efficiency=0.8,
    compute_efficiency=0.7,
    layer_s=10e-6,
    source="assumed: what Legato reaches on two cores of such a processor",
)


def _machine(
    name: str, *, bandwidth: float, peak_flops: float, memory: float, data_sheet: str, fit: _Fit
) -> Hardware:
    return Hardware(
        name=name,
        bandwidth=bandwidth,
        peak_flops=peak_flops,
        memory=memory,
        efficiency=fit.efficiency,
        compute_efficiency=fit.compute_efficiency,
        layer_s=fit.layer_s,
        sources=(data_sheet, fit.source),
    )


HARDWARE = {
    machine.name: machine
    for machine in (
        _machine(
            "inf2.48xlarge",
            bandwidth=9.84 * TB,
            peak_flops=12 * 190 * TFLOPS,
            memory=384 * GB,
            data_sheet="AWS EC2 Inf2: 12 Inferentia2 of 820 GB/s, 190 TFLOPS, 32 GB",
            fit=_NEURON,
        ),
        _machine(
            "trn1.32xlarge",
            bandwidth=16 * 0.82 * TB,
            peak_flops=16 * 190 * TFLOPS,
            memory=512 * GB,
            data_sheet="AWS EC2 Trn1: 16 Trainium of 820 GB/s, 190 TFLOPS, 32 GB",
            fit=_NEURON,
        ),
        _machine(
            "a100-80gb",
            bandwidth=2.039 * TB,
            peak_flops=312 * TFLOPS,
            memory=80 * GB,
            data_sheet="NVIDIA A100 80GB SXM data sheet",
            fit=_ONE_GPU,
        ),
        _machine(
            "h100",
            bandwidth=3.35 * TB,
            peak_flops=989 * TFLOPS,
            memory=80 * GB,
            data_sheet="NVIDIA H100 SXM data sheet",
            fit=_ONE_GPU,
        ),
        _machine(
            "h100-x8",
            bandwidth=8 * 3.35 * TB,
            peak_flops=8 * 989 * TFLOPS,
            memory=640 * GB,
            data_sheet="NVIDIA H100 SXM data sheet, eight of them over NVLink",
            fit=_EIGHT_GPUS,
        ),
        _machine(
            "l4",
            bandwidth=0.3 * TB,
            peak_flops=121 * TFLOPS,
            memory=24 * GB,
            data_sheet="NVIDIA L4 data sheet",
            fit=_ONE_GPU,
        ),
        _machine(
            "epyc-9654",
            bandwidth=460.8 * GB,
            peak_flops=96 * 3.55e9 * 64,
            memory=768 * GB,
            data_sheet="AMD EPYC 9654: 12 channels DDR5-4800, 96 cores with AVX-512 BF16",
            fit=_CPU,
        ),
    )
}


def find_hardware(name: str) -> Hardware:
    """The machine of that name; InvalidRequestError lists those that are known."""
    if name not in HARDWARE:
        known = ", ".join(HARDWARE)
        raise InvalidRequestError(f"there is no hardware {name!r}; known are {known}", "hardware")
    return HARDWARE[name]
