"""The model that drafts: loaded, checked against the target, and put on a backend beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from legato.backends.base import Backend
from legato.backends.registry import create_backend
from legato.clock import Clock
from legato.config import EngineConfig
from legato.cost.machine import MachineProfile
from legato.errors import FetchError, InvalidRequestError, ModelFormatError
from legato.models.hub import resolve_model
from legato.models.load import load_model
from legato.models.model import Model
from legato.program.build import build_program
from legato.program.program import Program
from legato.program.shortcut import Shortcut, shortcut_weights
from legato.speculative.draft_rows import DraftRows, OwnRows
from legato.speculative.draft_steps import DraftSteps, Tables, own_pool_tables
from legato.speculative.draft_times import DraftTimes
from legato.speculative.model import PRIOR_RATE, ModelSpeculator
from legato.text.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True)
class Target:
    """What a draft is made for."""

    model: Model
    program: Program
    backend: Backend
    tokenizer: Tokenizer


class Draft(Protocol):
    """A draft program on its backend; what is needed before the KV pool has its size, and after."""

    @property
    def program(self) -> Program:
        """What runs."""
        ...

    @property
    def backend(self) -> Backend:
        """Where it runs; whoever opened the draft closes it."""
        ...

    @property
    def block_bytes(self) -> int:
        """Bytes of its own that the draft needs for each block of the target's pool."""
        ...

    def speculator(
        self, depth: int, sized: EngineConfig, profile: MachineProfile, clock: Clock
    ) -> ModelSpeculator:
        """Drafts for an engine of these sizes. CapacityError where there is no memory for them."""
        ...


@dataclass(frozen=True, slots=True)
class DraftModel:
    """A model of its own, with a pool that goes by the block ids of the target's group `group`."""

    target: Target
    program: Program
    backend: Backend
    group: int

    @property
    def block_bytes(self) -> int:
        """See `Draft`."""
        return len(self.program.kv.groups) * self.program.kv.block_bytes

    def speculator(
        self, depth: int, sized: EngineConfig, profile: MachineProfile, clock: Clock
    ) -> ModelSpeculator:
        """See `Draft`."""
        groups = len(self.program.kv.groups)
        self.backend.allocate_kv(groups * sized.num_kv_blocks)
        return make_model_speculator(
            self,
            self.target,
            own_pool_tables(self.group, groups),
            OwnRows(self.group, self.program.kv.block_size),
            depth=depth,
            num_slots=sized.max_sequences + 1,
            times=DraftTimes(self.program, profile, clock),
        )


def open_draft_model(name: str, target: Target, config: EngineConfig) -> DraftModel:
    """Load the draft model `name` (a file, a folder or a known name) beside `target`.

    Raises:
        FetchError, ModelFormatError: it is not there, or damaged or unsupported.
        InvalidRequestError: it cannot draft for this target.
        CapacityError: no memory for its weights.
    """
    group = _full_group(target.program)
    model = _load(name)
    _check_vocabulary(model, target)
    vocab = target.program.vocab_size
    weights, shortcut = model.weights, None
    if model.arch.vocab_size > vocab:  # rows that pad its matrices
        shortcut = Shortcut(tuple(range(len(model.arch.layers))), vocab)
        weights = shortcut_weights(model.arch, model.weights, shortcut)
    program = build_program(
        model.arch,
        weights,
        block_size=config.block_size,
        kv_dtype=config.kv_element,
        max_context=min(model.arch.max_context, target.program.max_context),
        shortcut=shortcut,
    )
    backend = create_backend(program, weights, config, beside=target.backend)
    return DraftModel(target, program, backend, group)


def make_model_speculator(
    draft: Draft,
    target: Target,
    tables: Tables,
    rows: DraftRows,
    *,
    depth: int,
    num_slots: int,
    times: DraftTimes,
    prior: float = PRIOR_RATE,
) -> ModelSpeculator:
    """The speculator over `draft`, whose blocks are `tables` of the target's; its tokens are
    expected to be right as often as `prior` says."""
    program = draft.program
    steps = DraftSteps(
        draft.backend,
        tables,
        block_size=program.kv.block_size,
        num_slots=num_slots,
        vocab=target.program.vocab_size,
        draft_vocab=program.buffers[program.ops[-1].inputs[0]].width,
        input_vocab=program.vocab_size,
    )
    return ModelSpeculator(
        steps, rows, times, depth=depth, max_context=program.max_context, prior=prior
    )


def _full_group(program: Program) -> int:
    """The target's KV group whose blocks stay for the whole text."""
    for index, group in enumerate(program.kv.groups):
        if group.window is None:
            return index
    raise InvalidRequestError(
        "speculate: all layers of this model have a sliding window, so that a draft model cannot "
        "share its blocks; use suffix or self",
        "speculate",
    )


def _load(name: str) -> Model:
    try:
        return load_model(resolve_model(name))
    except (FetchError, ModelFormatError) as error:
        raise type(error)(f"speculate: the draft model: {error}") from error


def _check_vocabulary(model: Model, target: Target) -> None:
    """InvalidRequestError naming the first difference of the tokenizers."""
    tokenizer = load_tokenizer(model.tokenizer)
    place = target.tokenizer.first_difference(tokenizer)
    if place is None:
        return
    own, other = (
        repr(t.token_text(place)) if place < t.vocab_size else "none"
        for t in (target.tokenizer, tokenizer)
    )
    raise InvalidRequestError(
        f"speculate: the draft model {model.name} has another vocabulary ({tokenizer.vocab_size} "
        f"tokens, the model has {target.tokenizer.vocab_size}): token {place} is {other} there and "
        f"{own} in the model; a draft model needs the same tokenizer",
        "speculate",
    )
