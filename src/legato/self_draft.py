"""The target drafts for itself: some of its layers left out, and a head of its frequent tokens.

Nothing is in memory twice: the shortcut runs over the target's packed weights and reads the
target's keys and values. What it writes for drafted positions the target writes again when it
verifies them.
"""

from __future__ import annotations

from dataclasses import dataclass

from legato.backends.base import Backend
from legato.backends.registry import create_backend
from legato.clock import Clock
from legato.config import EngineConfig
from legato.cost.machine import MachineProfile
from legato.draft_model import Target, make_model_speculator
from legato.program.build import build_program
from legato.program.program import Program
from legato.program.shortcut import Shortcut, shortcut_weights
from legato.speculative.draft_rows import SharedRows
from legato.speculative.draft_steps import same_tables
from legato.speculative.draft_times import DraftTimes
from legato.speculative.model import ModelSpeculator


@dataclass(frozen=True, slots=True)
class SelfDraft:
    """A shortcut through the target; `agreement` is the share of tokens that both choose."""

    target: Target
    program: Program
    backend: Backend
    agreement: float

    @property
    def block_bytes(self) -> int:
        """It needs no bytes of its own."""
        return 0

    def speculator(
        self, depth: int, sized: EngineConfig, profile: MachineProfile, clock: Clock
    ) -> ModelSpeculator:
        """See `draft_model.Draft`."""
        return make_model_speculator(
            self,
            self.target,
            same_tables,
            SharedRows(),
            depth=depth,
            num_slots=sized.max_sequences + 1,
            times=DraftTimes(self.program, profile, clock),
            prior=self.agreement,
        )


def open_self_draft(
    shortcut: Shortcut, agreement: float, target: Target, config: EngineConfig
) -> SelfDraft:
    """`shortcut` on a backend beside the target's, over its weights and its KV pool."""
    program, backend = open_shortcut(shortcut, target, config, share_kv=True)
    return SelfDraft(target, program, backend, agreement)


def open_shortcut(
    shortcut: Shortcut, target: Target, config: EngineConfig, *, share_kv: bool
) -> tuple[Program, Backend]:
    """The program of `shortcut` and a backend for it; whoever opens it closes it."""
    weights = shortcut_weights(target.model.arch, target.model.weights, shortcut)
    program = shortcut_program(shortcut, target, config)
    backend = create_backend(program, weights, config, beside=target.backend, share_kv=share_kv)
    return program, backend


def shortcut_program(shortcut: Shortcut, target: Target, config: EngineConfig) -> Program:
    """The program of `shortcut`, which has the target's KV layout."""
    arch = target.model.arch
    return build_program(
        arch,
        shortcut_weights(arch, target.model.weights, shortcut),
        block_size=config.block_size,
        kv_dtype=config.kv_element,
        max_context=target.program.max_context,
        shortcut=shortcut,
    )
