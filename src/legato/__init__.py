"""Legato: an LLM inference engine and server that plays every token on time.

The public names are imported when first used, so that ``import legato`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from legato.core import SamplingParams
    from legato.llm import LLM

__version__ = "0.1.0"
__all__ = ["LLM", "SamplingParams", "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - classes and strings alike
    if name == "LLM":
        from legato.llm import LLM

        return LLM
    if name == "SamplingParams":
        from legato.core import SamplingParams

        return SamplingParams
    raise AttributeError(f"module 'legato' has no attribute {name!r}")
