"""What may come into an engine, and in which shape: checks, deadlines, and refusal under load."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as List
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from legato.backends.base import I32
from legato.config import EngineConfig
from legato.core import Request
from legato.errors import InvalidRequestError, OverloadedError
from legato.scheduler.fair_load import fair_view
from legato.scheduler.forecast import Load, Urgency, first_token_ns
from legato.scheduler.sequence import Sequence, make_samples
from legato.step_times import StepTimes
from legato.validate import check_context, check_request, check_token_ids

NS_PER_S = 1e9
NS_PER_MS = 1e6
LEAST_RETRY_S = 1.0
STRETCH = 2.0
"""However short its objectives, a request is not refused for less than this many times what it
takes on an idle machine."""
BURST_NS = 10_000_000_000
"""An engine that has had prompts to compute for longer is overloaded; until then it is a burst."""
BURST_PATIENCE = 5.0
"""In a burst, a request for which nobody stated a TTFT may wait this many times longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request of one engine must stay within.

    Attributes:
        vocab_size: token ids are below it.
        max_context: most tokens of a sequence, prompt and output.
        pool_context: the same, as far as the KV pool holds them; at most `max_context`.
    """

    vocab_size: int
    max_context: int
    pool_context: int


class Admission:
    """Turns requests into sequences, or says why not. Everything but `samples` is thread-safe."""

    def __init__(
        self,
        config: EngineConfig,
        times: StepTimes,
        limits: Limits,
        eos_ids: frozenset[int],
        draw_seed: Callable[[], int],
    ) -> None:
        self._config = config
        self._times = times
        self._limits = limits
        self._eos_ids = eos_ids
        self._draw_seed = draw_seed
        self._arrivals = 0

    def check(self, request: Request) -> None:
        """Raise what is wrong with `request` itself: see `validate`."""
        check_request(request, self._limits.vocab_size)
        check_context(request, self._limits.max_context, self._limits.pool_context)

    def urgency(self, request: Request, now_ns: int) -> Urgency:
        """Of `request`, if it comes now: its priority, and when its first token is due."""
        wanted_ns = self._times.ttft_ns(request.objectives, len(request.prompt))
        return request.priority, request.came_ns(now_ns) + wanted_ns

    def check_load(self, request: Request, load: Load, rows_before: int, now_ns: int) -> None:
        """Raise OverloadedError where the objectives of `request` are out of reach.

        That is where its first token, or its tokens from then on, are predicted later than
        `patience` times their objective, or five times that in a burst where nobody stated one.
        What lies in the load is meant: on an idle machine nothing is refused, however short its
        objectives.

        Args:
            rows_before: prompt tokens of requests that came before and are not in `load`.
        """
        if not self._config.patience or (load.is_idle and not rows_before):
            return
        rows, times = len(request.prompt), self._times
        objective_ns = times.ttft_ns(request.objectives, rows)
        urgency = self.urgency(request, now_ns)
        view = fair_view(load, request.tenant, urgency, rows)
        expected_ns = first_token_ns(view, urgency, rows, times, rows_before)
        expected_ns += now_ns - request.came_ns(now_ns)
        patience = self._first_token_patience(request, load, now_ns)
        latest_ns = max(patience * objective_ns, STRETCH * times.prefill_ns(rows))
        if expected_ns > latest_ns:
            _refuse("the first token would come in", expected_ns, objective_ns, latest_ns)
        self._check_pace(request, view)

    def _first_token_patience(self, request: Request, load: Load, now_ns: int) -> float:
        stated = request.objectives.ttft_ns or self._config.ttft_ms
        since_ns = load.behind_since_ns
        bursts = since_ns is None or now_ns - since_ns < BURST_NS
        return self._config.patience * (BURST_PATIENCE if bursts and not stated else 1.0)

    def _check_pace(self, request: Request, load: Load) -> None:
        """Likewise for the time between tokens, where it is the request's own or the operator's:
        the default is what a full engine keeps up."""
        if not (request.objectives.tbt_ns or self._config.tbt_ms):
            return
        wanted_ns, times = self._times.tbt_ns(request.objectives), self._times
        step_ns = times.decode_ns(load.streams, load.depth)
        alone_ns = times.decode_ns(1, load.depth)
        latest_ns = max(self._config.patience * wanted_ns, STRETCH * alone_ns)
        if step_ns > latest_ns:
            _refuse("a token would come every", step_ns, wanted_ns, latest_ns)

    def samples(self, request: Request, now_ns: int) -> list[Sequence]:
        """The sequences of `request`, which is added now, capped to the room that there is."""
        params, objectives = request.params, request.objectives
        wanted = len(request.prompt) + (params.max_tokens or self._limits.max_context)
        own_stops = frozenset(params.stop_token_ids)
        self._arrivals += 1
        return make_samples(
            request,
            arrival=self._arrivals,
            seed=self._draw_seed() if params.seed is None else params.seed,
            due_ns=self.urgency(request, now_ns)[1],
            tbt_ns=self._times.tbt_ns(objectives),
            length_limit=min(wanted, self._limits.pool_context),
            stop_ids=own_stops if params.ignore_eos else own_stops | self._eos_ids,
        )

    def scored_tokens(self, token_ids: List[int]) -> I32:
        """`token_ids` as an array; InvalidRequestError unless they are tokens and fit."""
        check_token_ids(token_ids, self._limits.vocab_size, "token_ids")
        if len(token_ids) > self._limits.pool_context:
            raise InvalidRequestError(
                f"{len(token_ids)} tokens were given to be scored; the context is "
                f"{self._limits.pool_context}",
                "token_ids",
                "context_length_exceeded",
            )
        return np.array(token_ids, np.int32)


def _refuse(what: str, expected_ns: float, wanted_ns: int, latest_ns: float) -> NoReturn:
    raise OverloadedError(
        f"{what} about {_shown(expected_ns)} and is wanted in {_shown(wanted_ns)}; try again later",
        max(LEAST_RETRY_S, (expected_ns - latest_ns) / NS_PER_S),
    )


def _shown(time_ns: float) -> str:
    return f"{time_ns / NS_PER_S:.1f} s" if time_ns >= NS_PER_S else f"{time_ns / NS_PER_MS:.0f} ms"
