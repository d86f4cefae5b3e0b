"""From a model to an engine that runs it: the one place where the parts are put together."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from legato.backends.registry import create_backend
from legato.backends.simulated import SimulatedBackend
from legato.clock import Clock, VirtualClock
from legato.config import EngineConfig
from legato.cost.estimate import StepCost
from legato.cost.machine import DEFAULT_PROFILE, MachineProfile
from legato.draft_model import Draft, Target, open_draft_model
from legato.engine import Engine
from legato.errors import InvalidRequestError
from legato.find_shortcut import FoundShortcut, find_shortcut, load_shortcut, save_shortcut
from legato.kvcache.sizing import check_sizes, free_memory_bytes, resolve_sizes
from legato.models.hub import cache_folder, resolve_model
from legato.models.load import load_model
from legato.models.model import Model
from legato.program.build import build_program
from legato.program.program import Program
from legato.scheduler.drafts import Speculator
from legato.self_draft import open_self_draft
from legato.speculative.make import MakeBook, make_speculator, reference_book
from legato.speculative.ngram_files import followers_path, load_followers
from legato.speculative.ngrams import NGramTable
from legato.speculative.settings import SpeculationSettings, parse_speculation
from legato.text.chat import ChatTemplate, chat_template_of
from legato.text.tokenizer import Tokenizer, load_tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """A model, ready to generate."""

    model: Model
    engine: Engine
    tokenizer: Tokenizer
    template: ChatTemplate


def assemble(name_or_path: str | Path, config: EngineConfig, clock: Clock) -> Assembled:
    """Load a model (a file, a folder or a known name) and build all that generating text needs.

    Raises:
        FetchError: a model known by name could not be fetched.
        ModelFormatError: the model is damaged or unsupported.
        InvalidRequestError: a size in `config` is out of range.
        BackendError: the backend cannot run here.
        CapacityError: the KV pool cannot be made as the config wants it.
    """
    model = load_model(resolve_model(name_or_path))
    tokenizer = load_tokenizer(model.tokenizer)
    template = chat_template_of(tokenizer)
    engine = build_engine(model, config, clock, tokenizer)
    return Assembled(model=model, engine=engine, tokenizer=tokenizer, template=template)


def build_engine(
    model: Model,
    config: EngineConfig,
    clock: Clock,
    tokenizer: Tokenizer | None = None,
    beside: Engine | None = None,
) -> Engine:
    """An engine for `model`. `tokenizer` names its end-of-sequence tokens; loaded if not given.
    With `beside`, one of the same model that never steps at the same time and is closed later, it
    shares threads and packed weights.

    Raises as `assemble` does.
    """
    check_sizes(config)
    settings = parse_speculation(config.speculate)
    tokenizer = tokenizer or load_tokenizer(model.tokenizer)
    program = build_model_program(model, config)
    with ExitStack() as opened:
        other = beside.backend if beside else None
        backend = create_backend(program, model.weights, config, beside=other)
        opened.callback(backend.close)
        target = Target(model, program, backend, tokenizer)
        draft = _open_draft(settings, target, config)
        if draft is not None:
            opened.callback(draft.backend.close)
        draft_bytes = 0 if draft is None else draft.block_bytes
        free_bytes, trained = free_memory_bytes(), model.arch.max_context
        sized = resolve_sizes(config, program.kv, trained, free_bytes, draft_bytes)
        profile = machine_profile(program, backend.name, config)
        engine = Engine(
            program,
            backend,
            sized,
            clock,
            frozenset(tokenizer.eos_ids),
            profile=profile,
            speculator=_speculator(settings, target, draft, sized, profile, clock),
        )
        opened.pop_all()
        return engine


def _open_draft(
    settings: SpeculationSettings, target: Target, config: EngineConfig
) -> Draft | None:
    if settings.drafter == "draft":
        return open_draft_model(settings.model, target, config)
    if settings.drafter == "self":
        found = _shortcut(target, config)
        return open_self_draft(found.shortcut, found.agreement, target, config)
    return None


def _speculator(
    settings: SpeculationSettings,
    target: Target,
    draft: Draft | None,
    config: EngineConfig,
    profile: MachineProfile,
    clock: Clock,
) -> Speculator | None:
    if draft is None:
        return make_speculator(
            settings, clock, lambda: known_followers(target.model), _make_book(config)
        )
    own = machine_profile(draft.program, target.backend.name, config, otherwise=profile)
    return draft.speculator(settings.k, config, own, clock)


def _make_book(config: EngineConfig) -> MakeBook:
    if config.backend == "reference":
        return reference_book
    from legato.speculative.native_book import native_book

    return native_book


def _shortcut(target: Target, config: EngineConfig) -> FoundShortcut:
    """The shortcut of this model on this machine; found at its first use, and kept."""
    program, name = target.program, target.backend.name
    profile = machine_profile(program, name, config)
    parts = (target.model.name, name, config.precision, repr(program), profile.to_json())
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
    path = cache_folder() / "shortcuts" / f"{key}.json"
    found = load_shortcut(path)
    if found is None:
        found = find_shortcut(target, config, profile)
        save_shortcut(path, found)
    return found


def profile_folder() -> Path:
    """Where the profiles of this machine are kept (see `cost.cache`)."""
    return cache_folder() / "profiles"


def known_followers(model: Model) -> NGramTable:
    """What `legato calibrate --own-texts` found that `model` mostly says after what; empty where
    it did not look."""
    return load_followers(followers_path(profile_folder(), model.weights))


def followers_file(path: Path) -> Path:
    """Where the followers of the model at `path` are kept. Raises ModelFormatError."""
    return followers_path(profile_folder(), load_model(path).weights)


def machine_profile(
    program: Program,
    backend_name: str,
    config: EngineConfig,
    otherwise: MachineProfile = DEFAULT_PROFILE,
) -> MachineProfile:
    """What `legato calibrate` measured here for this program and backend, or `otherwise`."""
    try:
        from legato.cost.cache import load_profile, profile_key
    except ImportError:  # without the native kernels there is nothing that was measured
        return otherwise
    key = profile_key(program, backend_name, config)
    return load_profile(profile_folder(), key) or otherwise


def build_model_program(model: Model, config: EngineConfig) -> Program:
    """The program of `model` with the KV layout and context that `config` asks for."""
    return build_program(
        model.arch,
        model.weights,
        block_size=config.block_size,
        kv_dtype=config.kv_element,
        max_context=config.max_context or model.arch.max_context,
    )


def simulate_engine(
    program: Program,
    profile: MachineProfile,
    config: EngineConfig,
    clock: VirtualClock,
    eos_ids: frozenset[int] = frozenset(),
) -> Engine:
    """An engine whose steps take no work and move `clock` by what `profile` predicts for them.

    The same calls give the same events and times: seeds that requests lack are 1, 2, 3 ….
    `config.num_kv_blocks` is the size of the imagined pool and must be set.

    Raises InvalidRequestError where a size in `config` is out of range.
    """
    check_sizes(config)
    if not config.num_kv_blocks:
        raise InvalidRequestError("a simulated engine needs num_kv_blocks", "num_kv_blocks")
    cost = StepCost(program, profile)
    backend = SimulatedBackend(program.vocab_size, cost.predict_ns, clock)
    seeds = count(1)
    return Engine(
        program,
        backend,
        config,
        clock,
        eos_ids,
        profile=profile,
        speculator=make_speculator(parse_speculation(config.speculate), clock),
        draw_seed=lambda: next(seeds),
    )
