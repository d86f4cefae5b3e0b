"""What may come into an engine, and in which shape: checks, deadlines, and refusal under load."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as List

import numpy as np

from legato.backends.base import I32
from legato.config import EngineConfig
from legato.core import Request
from legato.errors import InvalidRequestError, OverloadedError
from legato.scheduler.forecast import Load, first_token_ns
from legato.scheduler.sequence import Sequence, make_samples
from legato.step_times import StepTimes
from legato.validate import check_context, check_request, check_token_ids

NS_PER_S = 1e9
LEAST_RETRY_S = 1.0


class Admission:
    """Turns requests into sequences, or says why not. Everything but `samples` is thread-safe."""

    def __init__(
        self,
        config: EngineConfig,
        times: StepTimes,
        eos_ids: frozenset[int],
        draw_seed: Callable[[], int],
        *,
        vocab_size: int,
        max_context: int,
        pool_context: int,
    ) -> None:
        """`max_context` tokens are a sequence's limit, `pool_context` what the KV pool holds."""
        self._config = config
        self._times = times
        self._eos_ids = eos_ids
        self._draw_seed = draw_seed
        self._vocab_size = vocab_size
        self._max_context = max_context
        self._pool_context = pool_context
        self._arrivals = 0

    def check(self, request: Request) -> None:
        """Raise what is wrong with `request` itself: see `validate`."""
        check_request(request, self._vocab_size)
        check_context(request, self._max_context, self._pool_context)

    def check_load(self, request: Request, load: Load, rows_before: int, now_ns: int) -> None:
        """Raise OverloadedError where the first token of `request` is out of reach.

        That is where it is predicted later than `patience` times its objective, for reasons that
        lie in the load: on an idle machine nothing is refused, however short its objective.

        Args:
            rows_before: prompt tokens of requests that came before and are not in `load`.
        """
        if not self._config.patience:
            return
        rows, times = len(request.prompt), self._times
        objective_ns = times.ttft_ns(request.objectives, rows)
        urgency = (request.priority, now_ns + objective_ns)
        row_ns = times.row_ns(len(load.running), load.depth, load.tbt_ns)
        expected_ns = first_token_ns(load, urgency, rows, times) + rows_before * row_ns
        latest_ns = self._config.patience * max(objective_ns, times.prefill_ns(rows))
        if expected_ns > latest_ns:
            raise OverloadedError(
                f"the first token would come in about {expected_ns / NS_PER_S:.1f} s and is wanted "
                f"in {objective_ns / NS_PER_S:.1f} s; try again later",
                max(LEAST_RETRY_S, (expected_ns - latest_ns) / NS_PER_S),
            )

    def samples(self, request: Request, now_ns: int) -> list[Sequence]:
        """The sequences of `request`, which arrives now, capped to the room that there is."""
        params, objectives = request.params, request.objectives
        wanted = len(request.prompt) + (params.max_tokens or self._max_context)
        own_stops = frozenset(params.stop_token_ids)
        self._arrivals += 1
        return make_samples(
            request,
            arrival=self._arrivals,
            seed=self._draw_seed() if params.seed is None else params.seed,
            due_ns=now_ns + self._times.ttft_ns(objectives, len(request.prompt)),
            tbt_ns=self._times.tbt_ns(objectives),
            length_limit=min(wanted, self._pool_context),
            stop_ids=own_stops if params.ignore_eos else own_stops | self._eos_ids,
        )

    def scored_tokens(self, token_ids: List[int]) -> I32:
        """`token_ids` as an array; InvalidRequestError unless they are tokens and fit."""
        check_token_ids(token_ids, self._vocab_size, "token_ids")
        if len(token_ids) > self._pool_context:
            raise InvalidRequestError(
                f"{len(token_ids)} tokens were given to be scored; the context is "
                f"{self._pool_context}",
                "token_ids",
                "context_length_exceeded",
            )
        return np.array(token_ids, np.int32)
