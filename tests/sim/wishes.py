"""Random requests, and what each must give: a pure function, and so the same as in a solo run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np

from adaptive.questions import NUMBERS, Digits
from legato.adaptive.adaptive_consistency import AdaptiveConsistency
from legato.adaptive.best_of_n import BestOfN
from legato.adaptive.budget import Budget
from legato.adaptive.controller import AdaptiveCompute
from legato.adaptive.early_stopping import EarlyStopping
from legato.adaptive.pruning import Pruning
from legato.adaptive.self_evaluation import SelfEvaluation
from legato.core import NOBODY, FinishReason, Objectives, Request, Tenant
from null.fake_backend import BLOCK, EOS, NOTHING, VOCAB, make_request, mix, next_token

SALTS = ("", "", "tenant", "other")
TENANTS = (NOBODY, NOBODY, NOBODY, Tenant("other"), Tenant("heavy", 3))
NS_PER_MS = 1_000_000
Fault = Callable[[str], None]


@dataclass
class Language:
    """A constraint: which tokens may follow depends on the last one. It fails when told to."""

    key: int
    fault: Fault
    accepted: list[int] = field(default_factory=list)

    def start(self) -> Language:
        self.fault("start")
        return Language(self.key, self.fault)

    def fill_mask(self, mask: np.ndarray) -> None:
        self.fault("fill_mask")
        mask[:] = 0
        for token in allowed_after(self.key, self.accepted):
            mask[token // 32] |= np.uint32(1 << token % 32)

    def accept(self, token: int) -> None:
        self.fault("accept")
        assert token in allowed_after(self.key, self.accepted), "a token that was masked"
        self.accepted.append(token)

    def rollback(self, count: int) -> None:
        del self.accepted[len(self.accepted) - count :]


def allowed_after(key: int, accepted: Sequence[int]) -> set[int]:
    """About a third of the vocabulary, the end token often among them."""
    state = mix(key, len(accepted), accepted[-1] if accepted else 0)
    return {token for token in range(VOCAB) if (state >> token % 41) % 3 == token % 3} or {EOS}


def random_request(
    random: Random, name: str, lengths: Sequence[int], outputs: Sequence[int], fault: Fault
) -> Request:
    """A request with a little of everything; its seed makes it a function."""
    chance = random.random
    params: dict[str, object] = {"n": random.choice([1, 1, 1, 2, 4]), "ignore_eos": chance() < 0.7}
    if chance() < 0.2:
        params["stop_token_ids"] = tuple(random.sample(range(VOCAB), 3))
    if chance() < 0.1:
        params["frequency_penalty"] = 0.5
    language = None
    if chance() < 0.1:
        language = Language(random.getrandbits(30), fault)
        params["ignore_eos"] = False
    elif chance() < 0.1:
        params["min_tokens"] = random.randint(1, min(outputs))
    length = random.choice(lengths)
    request = make_request(
        name,
        length,
        start=random.randint(0, 3),
        prompt=patchwork(random, length) if chance() < 0.3 else None,
        priority=random.choice([0, 0, 0, 1, -1]),
        salt=random.choice(SALTS),
        max_tokens=random.choice(outputs),
        temperature=1.0,
        seed=random.getrandbits(64),
        **params,
    )
    compute = None
    if chance() < 0.15:
        compute = random_compute(random, request.params.max_tokens)
        request = replace(request, params=replace(request.params, n=1))
    deadlines = random_objectives(random)
    tenant = random.choice(TENANTS)
    return replace(
        request, constraint=language, objectives=deadlines, tenant=tenant, compute=compute
    )


def random_objectives(random: Random) -> Objectives:
    """Deadlines of the engine's own, out of reach, or near."""
    return Objectives(
        ttft_ns=random.choice([None, 1, 50 * NS_PER_MS]),
        tbt_ns=random.choice([None, 1, 2 * NS_PER_MS]),
    )


def random_compute(random: Random, max_tokens: int | None) -> AdaptiveCompute:
    """Any strategy, sometimes with pruning or a budget of tokens."""
    strategy = random.choice(
        [BestOfN(3), AdaptiveConsistency(6, 0.9), EarlyStopping(6, 2), SelfEvaluation(4, 0.8)]
    )
    asks = strategy.needs_self_evaluation
    return AdaptiveCompute(
        strategy=strategy,
        new_text=Digits,
        rule=NUMBERS,
        pruning=Pruning(7, 10.0) if random.random() < 0.3 else None,
        question=((1, 2, 3), 4) if asks else None,
        budget=Budget(tokens=4 * (max_tokens or 1)) if random.random() < 0.3 else Budget(),
    )


def patchwork(random: Random, length: int) -> list[int]:
    """A prompt of few different blocks in any order: equal blocks after different ones."""
    blocks = [[mix(kind, i) % VOCAB for i in range(BLOCK)] for kind in range(3)]
    chosen = (random.choice(blocks) for _ in range(-(-length // BLOCK)))
    return [token for block in chosen for token in block][:length]


@dataclass
class Sample:
    """What one sample has given so far, and what it must give next."""

    request: Request
    index: int
    windows: tuple[int | None, ...]
    length_limit: int
    tokens: list[int] = field(init=False)
    ended: FinishReason | None = None

    def __post_init__(self) -> None:
        self.tokens = list(self.request.prompt)

    def expect(self) -> tuple[int, FinishReason | None]:
        """The next token and why the sample ends with it, if it does."""
        token = self._token()
        params = self.request.params
        stops = {*params.stop_token_ids, *(() if params.ignore_eos else (EOS,))}
        if token in stops:
            return token, FinishReason.STOP
        wanted = len(self.request.prompt) + (params.max_tokens or 0)
        full = len(self.tokens) + 1 >= min(wanted, self.length_limit)
        return token, FinishReason.LENGTH if full else None

    def _token(self) -> int:
        seed = self.request.params.seed
        assert seed is not None
        token = next_token(self.tokens, self.windows, seed, self.index, self._seen())
        forbidden = self._forbidden()
        while token in forbidden:
            token = (token + 1) % VOCAB
        return token

    def _forbidden(self) -> set[int]:
        params, output = self.request.params, self.tokens[len(self.request.prompt) :]
        forbidden: set[int] = set()
        if len(output) < params.min_tokens:
            forbidden |= {*params.stop_token_ids, *(() if params.ignore_eos else (EOS,))}
        if isinstance(self.request.constraint, Language):
            key = self.request.constraint.key
            forbidden |= set(range(VOCAB)) - allowed_after(key, output)
        return forbidden

    def _seen(self) -> int:
        if not self.request.params.frequency_penalty:
            return NOTHING
        output = self.tokens[len(self.request.prompt) :]
        ids = sorted(set(self.tokens))
        return mix(*ids, *(output.count(token) for token in ids))
