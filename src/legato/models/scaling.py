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
FACTORS = "rope_freqs.weight"


def gguf_rope(
    fields: Fields, tensors: Mapping[str, Tensor], dims: int, style: RopeStyle
) -> RopeConfig:
    """Rope as GGUF metadata ``{architecture}.rope.*`` and ``rope_freqs.weight`` describe it.

    A factor without a type means linear scaling.
    """
    kind = fields.text("rope.scaling.type", "linear")
    base = rope_base(fields, "rope.freq_base")
    frequencies = rope.plain(dims, base)
    if FACTORS in tensors:
        frequencies = rope.divided(frequencies, _factors(tensors[FACTORS], dims))
    if kind == "linear":
        factor = fields.number("rope.scaling.factor", 1.0)
        return RopeConfig(frequencies=rope.linear(frequencies, factor), style=style)
    if kind == "yarn" and FACTORS not in tensors:
        yarn = _gguf_yarn(fields)
        frequencies = rope.yarn(dims, base, yarn)
        return RopeConfig(frequencies=frequencies, style=style, magnitude=yarn.magnitude)
    if kind != "none":
        raise fields.error(
            "rope.scaling.type", f"supported: none, linear, yarn (without {FACTORS})"
        )
    return RopeConfig(frequencies=frequencies, style=style)


def config_rope(fields: Fields, dims: int, max_context: int) -> RopeConfig:
    """Rope of a config.json, whose dialects differ in where the base stands.

    Older ones have ``rope_theta`` beside an object ``rope_scaling``; newer ones have both in
    ``rope_parameters``.
    """
    scaling = fields.section("rope_parameters" if fields.has("rope_parameters") else "rope_scaling")
    if scaling.has("full_attention"):
        raise fields.error("rope_parameters", "one rope for all layers is expected")
    base = rope_base(scaling if scaling.has("rope_theta") else fields, "rope_theta")
    return scaled_rope(scaling, dims, base, max_context)


def scaled_rope(scaling: Fields, dims: int, base: float, max_context: int) -> RopeConfig:
    """Rope with the ``rope_type`` (or ``type``) of an object; plain where it has none."""
    kind = scaling.text("rope_type", scaling.text("type", "default"))
    if scaling.number("partial_rotary_factor", 1.0) != 1:
        raise scaling.error("partial_rotary_factor", "rope on a part of the head is not supported")
    frequencies = rope.plain(dims, base)
    if kind == "default":
        return RopeConfig(frequencies=frequencies, style="half")
    if kind == "linear":
        scaled = rope.linear(frequencies, scaling.number("factor"))
        return RopeConfig(frequencies=scaled, style="half")
    if kind == "llama3":
        return RopeConfig(frequencies=_llama3(scaling, frequencies, max_context), style="half")
    if kind == "yarn":
        yarn = _config_yarn(scaling, max_context)
        frequencies = rope.yarn(dims, base, yarn)
        return RopeConfig(frequencies=frequencies, style="half", magnitude=yarn.magnitude)
    raise scaling.error("rope_type", "supported: default, linear, llama3, yarn")


def rope_base(fields: Fields, key: str, default: float = DEFAULT_BASE) -> float:
    """Rope's base, which must be above 1."""
    return fields.number(key, default, minimum=1.0)


def _factors(tensor: Tensor, dims: int) -> list[float]:
    wanted = f"tensor {tensor.name!r} must hold {dims // 2} finite positive numbers"
    if tensor.shape != (dims // 2,):
        raise ModelFormatError(wanted)
    factors = dequantize(tensor)
    if not np.all(np.isfinite(factors) & (factors > 0)):
        raise ModelFormatError(wanted)
    return [float(factor) for factor in factors]


def _gguf_yarn(fields: Fields) -> rope.YarnScaling:
    for key in ("attn_factor", "yarn_attn_factor", "yarn_log_multiplier"):
        if fields.number(f"rope.scaling.{key}", 1.0) != 1:
            raise fields.error(f"rope.scaling.{key}", "this form of YaRN is not supported")
    return rope.YarnScaling(
        factor=fields.number("rope.scaling.factor"),
        original_context=fields.integer(
            "rope.scaling.original_context_length", fields.integer("context_length")
        ),
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


def _llama3(fields: Fields, frequencies: rope.Frequencies, max_context: int) -> rope.Frequencies:
    low = fields.number("low_freq_factor")
    return rope.llama3(
        frequencies,
        factor=fields.number("factor"),
        low_frequency_factor=low,
        high_frequency_factor=fields.number("high_freq_factor", minimum=low),
        original_context=fields.integer("original_max_position_embeddings", max_context),
    )
