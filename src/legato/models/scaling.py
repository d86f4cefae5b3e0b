"""Which rope scaling a file asks for: GGUF keys and config.json's dialects → frequencies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from legato.dequantize import dequantize
from legato.errors import ModelFormatError
from legato.models import rope
from legato.models.arch import RopeConfig, RopeStyle
from legato.models.fields import Fields
from legato.tensor import Tensor

DEFAULT_BASE = 10_000.0


def gguf_rope(
    fields: Fields, tensors: Mapping[str, Tensor], dims: int, style: RopeStyle
) -> RopeConfig:
    """Rope as GGUF metadata ``{architecture}.rope.*`` and ``rope_freqs.weight`` describe it."""
    kind = fields.text("rope.scaling.type", "none")
    base = _base(fields, "rope.freq_base")
    frequencies = rope.plain(dims, base)
    if "rope_freqs.weight" in tensors:
        factors = _factors(tensors["rope_freqs.weight"], dims)
        return RopeConfig(frequencies=rope.divided(frequencies, factors), style=style)
    if kind == "linear":
        factor = fields.number("rope.scaling.factor")
        return RopeConfig(frequencies=rope.linear(frequencies, factor), style=style)
    if kind == "yarn":
        scaling = _gguf_yarn(fields)
        frequencies = rope.yarn(dims, base, scaling)
        return RopeConfig(frequencies=frequencies, style=style, magnitude=scaling.magnitude)
    if kind != "none":
        raise fields.error("rope.scaling.type", "supported: none, linear, yarn")
    return RopeConfig(frequencies=frequencies, style=style)


def config_rope(fields: Fields, dims: int, max_context: int) -> RopeConfig:
    """Rope of a config.json, whose dialects differ in where the base stands.

    Older ones have ``rope_theta`` beside an object ``rope_scaling``; newer ones have both in
    ``rope_parameters``.
    """
    scaling = fields.section("rope_parameters" if fields.has("rope_parameters") else "rope_scaling")
    base = _base(scaling if scaling.has("rope_theta") else fields, "rope_theta")
    return scaled_rope(scaling, dims, base, max_context)


def scaled_rope(scaling: Fields, dims: int, base: float, max_context: int) -> RopeConfig:
    """Rope with the ``rope_type`` (or ``type``) of an object; plain where it has none."""
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    frequencies = rope.plain(dims, base)
    if kind == "default":
        return RopeConfig(frequencies=frequencies, style="half")
    if kind == "linear":
        scaled = rope.linear(frequencies, scaling.number("factor"))
        return RopeConfig(frequencies=scaled, style="half")
    if kind == "llama3":
        return RopeConfig(frequencies=_llama3(scaling, frequencies), style="half")
    if kind == "yarn":
        yarn = _config_yarn(scaling, max_context)
        frequencies = rope.yarn(dims, base, yarn)
        return RopeConfig(frequencies=frequencies, style="half", magnitude=yarn.magnitude)
    raise scaling.error("rope_type", "supported: default, linear, llama3, yarn")


def _base(fields: Fields, key: str) -> float:
    return fields.number(key, DEFAULT_BASE, minimum=1.0)


def _factors(tensor: Tensor, dims: int) -> list[float]:
    factors = dequantize(tensor)
    if factors.shape != (dims // 2,) or not np.all(np.isfinite(factors) & (factors > 0)):
        raise ModelFormatError(
            f"tensor {tensor.name!r} must hold {dims // 2} finite positive numbers"
        )
    return [float(factor) for factor in factors]


def _gguf_yarn(fields: Fields) -> rope.YarnScaling:
    return rope.YarnScaling(
        factor=fields.number("rope.scaling.factor"),
        original_context=fields.integer("rope.scaling.original_context_length"),
        beta_fast=fields.number("rope.scaling.yarn_beta_fast", 32.0),
        beta_slow=fields.number("rope.scaling.yarn_beta_slow", 1.0),
    )


def _config_yarn(fields: Fields, max_context: int) -> rope.YarnScaling:
    for key in ("mscale", "mscale_all_dim"):
        if fields.has(key):
            raise fields.error(key, "this form of YaRN is not supported")
    return rope.YarnScaling(
        factor=fields.number("factor"),
        original_context=fields.integer("original_max_position_embeddings", max_context),
        beta_fast=fields.number("beta_fast", 32.0),
        beta_slow=fields.number("beta_slow", 1.0),
        attention_factor=fields.optional_number("attention_factor"),
        truncate=fields.flag("truncate", True),
    )


def _llama3(fields: Fields, frequencies: rope.Frequencies) -> rope.Frequencies:
    low = fields.number("low_freq_factor")
    return rope.llama3(
        frequencies,
        factor=fields.number("factor"),
        low_frequency_factor=low,
        high_frequency_factor=fields.number("high_freq_factor", minimum=low),
        original_context=fields.integer("original_max_position_embeddings"),
    )
