"""Checks a whole program and names the op that fails."""

from __future__ import annotations

from collections import Counter
from typing import Never

from legato.errors import ProgramError
from legato.program.kv import layer_location
from legato.program.ops import OPS, weight_bytes
from legato.program.program import Op, OpKind, Program


def verify(program: Program, *, partial: bool = False) -> None:
    """Raise ProgramError naming the first op (index, kind, name) that is not well formed.

    Every op must be in the table, have its operands, weights and parameters, and use only what
    was defined before; every buffer and weight must be used; a layer's keys and values must be
    appended before it attends, of every layer unless the program is `partial`; the last op, and no
    other, samples.
    """
    _check_kv_layout(program)
    _check_weights(program)
    defined: set[str] = set()
    appended: set[int] = set()
    names: set[str] = set()
    for index, op in enumerate(program.ops):
        try:
            _check_form(op, program)
            _check_order(op, program, defined, names)
            _check_shapes(op, program)
            _check_layer(op, program, appended)
        except ProgramError as error:
            raise ProgramError(f"op {index} {op.kind} {op.name!r}: {error}") from error
    _check_end(program)
    _check_all_used(program)
    silent = {layer for group in program.kv.groups for layer in group.layers} - appended
    if silent and not partial:
        _fail(f"layers {sorted(silent)} have a place in the KV cache but never append to it")


def _fail(message: str) -> Never:
    raise ProgramError(message)


def _check_kv_layout(program: Program) -> None:
    groups = program.kv.groups
    if len({len(group.layers) for group in groups}) != 1 or not groups[0].layers:
        _fail(f"KV groups must have equal numbers of layers, at least one: {groups}")
    repeated = [n for n, c in Counter(n for g in groups for n in g.layers).items() if c > 1]
    if repeated:
        _fail(f"layers {repeated} are in more than one KV group")


def _check_weights(program: Program) -> None:
    for weight in program.weights.values():
        try:
            weight_bytes(weight)
        except ValueError as error:
            raise ProgramError(f"weight {weight.name}: {error}") from error


def _check_form(op: Op, program: Program) -> None:
    """Operands, weights and parameters are those of the table."""
    if op.kind not in OPS:
        _fail("unknown kind of op")
    spec = OPS[op.kind]
    if len(op.inputs) != len(spec.inputs):
        _fail(f"{len(op.inputs)} inputs, expected {len(spec.inputs)}: {', '.join(spec.inputs)}")
    required = sum(not name.endswith("?") for name in spec.weights)
    if not required <= len(op.weights) <= len(spec.weights):
        _fail(f"{len(op.weights)} weights, expected {', '.join(spec.weights) or 'none'}")
    if sorted(name for name, _ in op.params) != sorted(spec.params):
        given = ", ".join(name for name, _ in op.params) or "none"
        _fail(f"parameters {given}, expected {', '.join(spec.params) or 'none'}")
    for name in op.weights:
        if name not in program.weights:
            _fail(f"unknown weight {name!r}")


def _check_order(op: Op, program: Program, defined: set[str], names: set[str]) -> None:
    """Names are unique, inputs are defined before and outputs only once."""
    if op.name in names:
        _fail("another op has this name")
    names.add(op.name)
    for name in op.inputs:
        if name not in defined:
            _fail(f"input {name!r} is used before it is defined")
    for name in op.outputs:
        if name in defined:
            _fail(f"output {name!r} is defined twice")
        if name not in program.buffers:
            _fail(f"output {name!r} is no buffer of the program")
    defined.update(op.outputs)


def _check_shapes(op: Op, program: Program) -> None:
    outputs = OPS[op.kind].infer(op, program)
    declared = tuple(program.buffers[name] for name in op.outputs)
    if declared != outputs:
        _fail(f"outputs are declared as {declared}, the operands give {outputs}")


def _check_layer(op: Op, program: Program, appended: set[int]) -> None:
    """Each layer appends once, and before it attends with its group's window."""
    if op.kind not in (OpKind.KV_APPEND, OpKind.ATTENTION):
        return
    layer = op.integer("layer")
    group, _ = layer_location(program.kv, layer)
    if op.kind is OpKind.KV_APPEND:
        if layer in appended:
            _fail(f"layer {layer} appends keys and values twice")
        appended.add(layer)
    elif layer not in appended:
        _fail(f"layer {layer} attends before its keys and values are appended")
    elif op.param("window") != program.kv.groups[group].window:
        window = program.kv.groups[group].window
        _fail(f"window {op.param('window')} differs from that of its KV group, {window}")


def _check_end(program: Program) -> None:
    samples = [i for i, op in enumerate(program.ops) if op.kind is OpKind.SAMPLE]
    if samples != [len(program.ops) - 1]:
        _fail(f"the last op, and no other, must be sample; sample is at {samples or 'no index'}")


def _check_all_used(program: Program) -> None:
    read = {name for op in program.ops for name in op.inputs}
    used = {name for op in program.ops for name in op.weights}
    if unread := sorted(program.buffers.keys() - read):
        _fail(f"buffers that no op reads: {', '.join(unread)}")
    if unused := sorted(program.weights.keys() - used):
        _fail(f"weights that no op uses: {', '.join(unused)}")
