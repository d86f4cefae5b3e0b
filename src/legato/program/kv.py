"""How the layers of a model share KV blocks."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

from legato.errors import ProgramError
from legato.program.program import KVGroup, KVLayout


def group_layers(windows: Sequence[int | None]) -> tuple[KVGroup, ...]:
    """Cut layers into groups of equal size with one window each, in order of their first layer.

    `windows[i]` is the sliding window of layer i in tokens, or None. The size is the greatest
    common divisor of the numbers of layers with each window: 15 sliding and 3 full layers give
    five sliding groups and one full group of three layers.
    """
    classes: dict[int | None, list[int]] = {}
    for layer, window in enumerate(windows):
        classes.setdefault(window, []).append(layer)
    size = gcd(*(len(layers) for layers in classes.values()))
    groups = [
        KVGroup(tuple(layers[start : start + size]), window)
        for window, layers in classes.items()
        for start in range(0, len(layers), size)
    ]
    return tuple(sorted(groups, key=lambda group: group.layers))


def layer_location(layout: KVLayout, layer: int) -> tuple[int, int]:
    """Where the keys and values of `layer` are: (group, index of the layer in the group)."""
    for index, group in enumerate(layout.groups):
        if layer in group.layers:
            return index, group.layers.index(layer)
    raise ProgramError(f"layer {layer} is in no KV group")
