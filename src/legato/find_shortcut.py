"""Which layers a model can do without when it drafts for itself: found by trying.

Each layer is left out alone once; then those that matter least are left out together, one more
each round, and of all shortcuts on that way the one with the greatest predicted gain is taken.
Agreement is counted over a short text: the share of its positions at which the shortcut's likeliest
token is the model's own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from legato.backends.base import I32, Backend, StepInput
from legato.config import EngineConfig
from legato.cost.driver import greedy_sampling
from legato.cost.estimate import StepCost
from legato.cost.machine import MachineProfile
from legato.draft_model import Target
from legato.program.ops import StepShape
from legato.program.program import Program
from legato.program.shortcut import Shortcut
from legato.self_draft import open_shortcut, shortcut_program
from legato.whole_file import whole_file

TEXT = (
    "The harbour lies at the mouth of the river, and every morning before six the boats come "
    "back with what the night has given them. Maria keeps the books. She writes down the name of "
    "each boat, the weight of the catch and the price, and by eight o'clock she knows whether it "
    "was a good day.\n\n"
    "Q: How many minutes are in three hours?\nA: There are 60 minutes in an hour, so three hours "
    "have 3 * 60 = 180 minutes.\n\n"
    "def mean(values):\n    total = 0\n    for value in values:\n        total += value\n"
    "    return total / len(values)\n"
)
MOST_TOKENS = 192
CANDIDATES = 3
"""Layers that each round tries to leave out, those that alone matter least."""

LEAST_AGREEMENT = 0.3
"""A shortcut that agrees less is not made any shorter."""

DEEPEST = 8
PAST = 256
"""Cached tokens of the steps whose predicted times decide."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FoundShortcut:
    """A shortcut, its share of tokens that the whole model chooses too, and the tokens a second
    that it is predicted to give, over those without it."""

    shortcut: Shortcut
    agreement: float
    gain: float


def find_shortcut(target: Target, config: EngineConfig, profile: MachineProfile) -> FoundShortcut:
    """Try shortcuts through `target`; takes seconds for a small model, and minutes for a large."""
    _log.info("trying which layers of %s a draft can do without", target.model.name)
    whole = StepCost(target.program, profile)
    tokens = _text_tokens(target, config)
    trials = _Trials(target, config, tokens)
    best: FoundShortcut | None = None
    for layers, chosen in _path(trials):
        for rows in _head_rows(target.program.vocab_size):
            agreement = _share((chosen == trials.expected) & (chosen < rows))
            shortcut = Shortcut(layers, rows)
            program = shortcut_program(shortcut, target, config)
            draft_ns = StepCost(program, profile).predict_ns(_decode(1))
            gain = predicted_gain(agreement, draft_ns, lambda k: whole.predict_ns(_decode(k + 1)))
            if best is None or gain > best.gain:
                best = FoundShortcut(shortcut, agreement, gain)
    assert best is not None
    return best


def predicted_gain(agreement: float, draft_ns: float, verify_ns: Callable[[int], float]) -> float:
    """Tokens a second with drafts of the best depth k ≥ 1 over those without: (1 + a + … + a^k) /
    (k · draft + verify(k)) · verify(0)."""
    best, tokens = 0.0, 1.0
    for depth in range(1, DEEPEST + 1):
        tokens += agreement**depth
        best = max(best, tokens / (depth * draft_ns + verify_ns(depth)) * verify_ns(0))
    return best


class _Trials:
    """Chooses the likeliest token at every position of a text with shortcuts through a model."""

    def __init__(self, target: Target, config: EngineConfig, tokens: I32) -> None:
        self._target = target
        self._config = config
        self._tokens = tokens
        self.num_layers = len(target.model.arch.layers)
        self._count = 0
        self._most = 1 + self.num_layers + CANDIDATES * _most_rounds(self.num_layers)
        self.expected = self.chosen(tuple(range(self.num_layers)))

    def chosen(self, layers: tuple[int, ...]) -> I32:
        """Token ids with these layers alone."""
        shortcut = Shortcut(layers, self._target.program.vocab_size)
        program, backend = open_shortcut(shortcut, self._target, self._config, share_kv=False)
        with closing(backend):
            tokens = likeliest_tokens(program, backend, self._tokens)
        self._count_one()
        return tokens

    def agreement(self, layers: tuple[int, ...]) -> float:
        """Share of positions at which they agree with all layers."""
        return _share(self.chosen(layers) == self.expected)

    def _count_one(self) -> None:
        """Log every tenth of the way."""
        before, self._count = self._count, self._count + 1
        if 10 * self._count // self._most > 10 * before // self._most:
            _log.info("tried %d of at most %d shortcuts", self._count, self._most)


def _path(trials: _Trials) -> Iterator[tuple[tuple[int, ...], I32]]:
    """Shorter and shorter ways through the layers, and what they choose."""
    kept = tuple(range(trials.num_layers))
    yield kept, trials.expected
    alone = {layer: trials.agreement(_without(kept, layer)) for layer in kept if len(kept) > 1}
    ranked = sorted(alone, key=lambda layer: alone[layer])
    for _ in range(_most_rounds(trials.num_layers)):
        tried = [ranked.pop() for _ in range(min(CANDIDATES, len(ranked)))]
        choices = {layer: trials.chosen(_without(kept, layer)) for layer in tried}
        scores = {layer: _share(choices[layer] == trials.expected) for layer in tried}
        best = max(tried, key=lambda layer: scores[layer])
        ranked += [layer for layer in reversed(tried) if layer != best]
        kept = _without(kept, best)
        yield kept, choices[best]
        if scores[best] < LEAST_AGREEMENT:
            return


def _most_rounds(num_layers: int) -> int:
    """Layers that are left out at most: half of them."""
    return num_layers - max(1, num_layers // 2)


def _share(flags: np.ndarray) -> float:
    return float(np.mean(flags))


def _without(layers: tuple[int, ...], layer: int) -> tuple[int, ...]:
    return tuple(each for each in layers if each != layer)


def _head_rows(vocab: int) -> list[int]:
    """Sizes of the head that are tried: the whole one, and multiples of 32 down to an eighth."""
    return [vocab] + [vocab // part // 32 * 32 for part in (2, 4, 8) if vocab // part >= 32]


def _decode(rows: int) -> StepShape:
    return StepShape(((rows, PAST),), rows)


def _text_tokens(target: Target, config: EngineConfig) -> I32:
    most = min(MOST_TOKENS, config.max_batch_tokens, target.program.max_context)
    return np.array(target.tokenizer.encode(TEXT)[:most], np.int32)


def likeliest_tokens(program: Program, backend: Backend, tokens: I32) -> I32:
    """The likeliest next token at every position of `tokens` [n] i32, in a new KV pool."""
    count, groups = len(tokens), len(program.kv.groups)
    blocks = -(-count // program.kv.block_size)
    backend.allocate_kv(groups * blocks)
    places = np.arange(count, dtype=np.int32)
    step = StepInput(
        token_ids=tokens,
        positions=places,
        query_starts=np.array([0, count], np.int32),
        kv_lengths=np.array([count], np.int32),
        block_tables=np.arange(groups * blocks, dtype=np.int32).reshape(groups, 1, blocks),
        output_rows=places,
        sampling=greedy_sampling(count, program.vocab_size),
    )
    return backend.run(step).token_ids


def load_shortcut(path: Path) -> FoundShortcut | None:
    """What was found before; None where there is nothing, or it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        shortcut = Shortcut(tuple(map(int, found["layers"])), int(found["head_rows"]))
        return FoundShortcut(shortcut, float(found["agreement"]), float(found["gain"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("the shortcut %s is ignored (%s)", path, error)
        return None


def save_shortcut(path: Path, found: FoundShortcut) -> None:
    """Keep it for the next start; a folder that cannot be written is only logged."""
    document = {**asdict(found.shortcut), "agreement": found.agreement, "gain": found.gain}
    try:
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(document), encoding="utf-8")
    except OSError as error:
        _log.warning("the shortcut is not kept (%s)", error)
