"""Which family loads which architecture."""

from __future__ import annotations

from collections.abc import Mapping

from legato.errors import ModelFormatError
from legato.models import gemma, llama, qwen
from legato.models.family import Family

GGUF_FAMILIES: Mapping[str, Family] = {
    "llama": llama.FAMILY,
    "qwen2": qwen.QWEN2,
    "qwen3": qwen.QWEN3,
    "gemma2": gemma.GEMMA2,
    "gemma3": gemma.GEMMA3,
}
HF_FAMILIES: Mapping[str, Family] = {
    "llama": llama.FAMILY,
    "mistral": llama.MISTRAL,
    "qwen2": qwen.QWEN2,
    "qwen3": qwen.QWEN3,
    "gemma2": gemma.GEMMA2,
    "gemma3": gemma.GEMMA3,
    "gemma3_text": gemma.GEMMA3,
}


def gguf_family(architecture: str) -> Family:
    """The family of a GGUF file's ``general.architecture``; ModelFormatError where unknown."""
    return _lookup(GGUF_FAMILIES, "general.architecture", architecture)


def hf_family(model_type: str) -> Family:
    """The family of a config.json's ``model_type``; ModelFormatError where unknown."""
    return _lookup(HF_FAMILIES, "model_type", model_type)


def _lookup(families: Mapping[str, Family], key: str, name: str) -> Family:
    if name not in families:
        raise ModelFormatError(f"{key} is {name!r}; supported: {', '.join(sorted(families))}")
    return families[name]
