"""The nouns that every layer shares: what is asked for, and what comes back token by token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy: dividing logits by them would overflow float32."""


class FinishReason(StrEnum):
    """Why a sequence ended."""

    STOP = "stop"  # an end-of-sequence token, a stop token or a stop string
    LENGTH = "length"  # max_tokens or the context limit
    CANCELLED = "cancelled"  # the caller went away or asked for it
    ERROR = "error"  # this sequence failed; `TokenEvent.error` says how


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How tokens are chosen and when generation stops.

    The chosen token is argmax(filtered logits + Gumbel noise), the noise being a function of
    (seed, sample index, position) alone; temperature 0 takes the argmax without noise.

    Attributes:
        temperature: ≥ 0; below `GREEDY_BELOW` it is greedy.
        top_k: keep the k most likely tokens; 0 keeps all.
        top_p: keep the smallest set whose probability reaches p, in (0, 1].
        min_p: drop tokens less likely than min_p × the most likely one, in [0, 1].
        presence_penalty: subtracted once from the logit of every token already in the output.
        frequency_penalty: subtracted per occurrence in the output.
        repetition_penalty: > 0; divides positive and multiplies negative logits of tokens
            already in prompt or output (Keskar et al. 2019, CTRL, equation in section 4.1).
        logit_bias: token id → value added to its logit.
        seed: makes the text reproducible under any load; None draws one per request.
        max_tokens: most tokens to generate; None means up to the context limit.
        min_tokens: end-of-sequence and stop tokens are masked until this many are generated.
        stop_token_ids: tokens that end the sequence, besides the model's own.
        ignore_eos: do not stop at the model's end-of-sequence tokens.
        stop: strings that end the text; they are not part of it.
        logprobs: None for none; k ≥ 0 for the chosen token's log-probability and k alternatives,
            of the model's own distribution (before bias, penalties, temperature and filters).
        n: how many samples of one prompt.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    max_tokens: int | None = None
    min_tokens: int = 0
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    n: int = 1

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken, so that all samples are the same."""
        return self.temperature < GREEDY_BELOW


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who a request is for. Where several have work they share the machine by their weights.

    Attributes:
        name: such as that of an API key.
        weight: its part of the machine's time beside the weights of the others, at least 1.
    """

    name: str = ""
    weight: int = 1


NOBODY = Tenant()


@dataclass(frozen=True, slots=True, kw_only=True)
class Objectives:
    """Until when the tokens of a request are wanted; None takes the engine's default.

    Attributes:
        ttft_ns: time to first token, from the request's arrival.
        tbt_ns: time between two tokens.
    """

    ttft_ns: int | None = None
    tbt_ns: int | None = None


class Matcher(Protocol):
    """Follows one sample through the language that its request allows."""

    def fill_mask(self, mask: npt.NDArray[np.uint32]) -> None:
        """Write into `mask`, u32 [ceil(vocab / 32)], bit t set where token t may come next."""
        ...

    def accept(self, token: int) -> None:
        """The sample goes on with `token`. Raises ValueError where that is not allowed."""
        ...

    def rollback(self, count: int) -> None:
        """Forget the last `count` accepted tokens."""
        ...


class Constraint(Protocol):
    """The language that the output of a request must be in: a JSON schema, a grammar."""

    def start(self) -> Matcher:
        """A matcher at the beginning, one for each sample."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request that decided itself how many samples it needs.

    Attributes:
        winner: index of the sample whose text is the answer.
        answer: the winner's, normalised; None where it has none or answers are not read.
        votes: answer → samples that gave it, most first; of the samples that counted.
        confidence: how sure the strategy is, by its own measure; None where it has none.
        counted: samples that entered the decision.
        drawn: samples that were begun, at least as many.
        pruned: of them, given up on their way because others were better.
        saved: samples that might have been drawn and were not.
        tokens: generated, in all samples.
        machine_ns: machine time of all samples, and of the questions about them.
    """

    winner: int
    answer: str | None
    votes: Mapping[str, int]
    confidence: float | None
    counted: int
    drawn: int
    pruned: int
    saved: int
    tokens: int
    machine_ns: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks how probable `token` is after the prompt, the first `num_output` tokens of sample
    `sample`, and `suffix`."""

    sample: int
    num_output: int
    suffix: tuple[int, ...]
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a controller wants next.

    Attributes:
        draw: samples to begin, numbered on from those before.
        max_tokens: most tokens of each of them; None leaves the request's own limit.
        end: running samples to stop now.
        probes: what to ask about samples.
        outcome: the decision: everything that still runs ends, nothing else of the turn counts.
        holds: nothing runs, and nothing is drawn until `Engine.resume`.
    """

    draw: int = 0
    max_tokens: int | None = None
    end: tuple[int, ...] = ()
    probes: tuple[Probe, ...] = ()
    outcome: Outcome | None = None
    holds: bool = False


class Controller(Protocol):
    """Follows the samples of one request and decides when it has enough.

    While nothing runs and nothing is asked, every turn draws, decides or holds: else nobody would
    ask for another turn.
    """

    def take(self, event: TokenEvent) -> None:
        """One of its samples went on, or ended."""
        ...

    def probed(self, probe: Probe, logprob: float | None) -> None:
        """The log-probability that `probe` asked for; None where it could not be computed."""
        ...

    def turn(self, now_ns: int, machine_ns: int) -> Turn:
        """What to do now, after all events of a step; also once before the first.

        Args:
            now_ns: the time.
            machine_ns: machine time that all samples and probes took so far.
        """
        ...


class Compute(Protocol):
    """How much compute a request deserves: from one sample to many, decided as they come."""

    @property
    def needs_logprobs(self) -> bool:
        """Whether the log-probabilities of chosen tokens are looked at."""
        ...

    def start(self, arrival_ns: int, max_tokens: int, free_rows: int) -> Controller:
        """A controller for one request.

        Args:
            arrival_ns: when it arrived.
            max_tokens: most tokens that one sample may have.
            free_rows: samples that a step computes in nearly the time of one.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt to be continued `params.n` times.

    Attributes:
        id: made by the server, unique among live requests.
        prompt: token ids, at least one.
        priority: smaller runs earlier; ties in order of arrival. It orders the requests of one
            tenant; between tenants fair shares decide.
        tenant: who it is for.
        cache_salt: prefixes are shared only between requests of equal salt.
        objectives: its deadlines.
        constraint: what its output may be; None allows everything.
        draft_tokens: most tokens that speculation drafts for it in a step; 0 for none, None
            leaves it to the engine. Never changes its output.
        compute: decides how many samples are drawn (`params.n` is 1 then); the events are those
            of the winner, all at once when it is decided. None draws `params.n`.
        arrived_ns: when it came, on the engine's clock, from which its deadlines count; None is
            when it is added, between two steps.
    """

    id: str
    prompt: tuple[int, ...]
    params: SamplingParams
    priority: int = 0
    tenant: Tenant = NOBODY
    cache_salt: str = ""
    objectives: Objectives = Objectives()
    constraint: Constraint | None = None
    draft_tokens: int | None = None
    compute: Compute | None = None
    arrived_ns: int | None = None

    def came_ns(self, now_ns: int) -> int:
        """When it came, which was not after now."""
        return now_ns if self.arrived_ns is None else min(self.arrived_ns, now_ns)


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log-probabilities at one position: of the chosen token, and the k most likely in order."""

    chosen: float
    top: tuple[tuple[int, float], ...]


@dataclass(slots=True, kw_only=True)
class TokenEvent:
    """What one step did for one sample of one request.

    Nobody changes an event but who makes it; it is not frozen because every token makes one, and
    freezing doubles the time that takes.

    Attributes:
        index: which of the `n` samples.
        token_id: the new token, or None when the sequence ended without one (cancelled, error).
        time_ns: when the step that made the token ended.
        finish_reason: set on the last event of a sample.
        cached_tokens: prompt tokens that came from the prefix cache; set on the first event.
        started_ns: when the first step that computed this request began; set on the first event.
        error: a message fit for the caller, with `finish_reason` ERROR.
        machine_ns: machine time that this sample took of all steps up to now; set on its last
            event. The shares of a step add up to the step.
        drafted, accepted: tokens that speculation guessed for this sample up to now, and those of
            them that were right; set on its last event, and where guesses were verified.
        outcome: of a request with `compute`, on its last event; `machine_ns`, `drafted` and
            `accepted` are then of all samples.
    """

    request_id: str
    index: int
    token_id: int | None
    time_ns: int
    logprobs: TokenLogprobs | None = None
    finish_reason: FinishReason | None = None
    cached_tokens: int = 0
    started_ns: int | None = None
    error: str | None = None
    machine_ns: int = 0
    drafted: int = 0
    accepted: int = 0
    outcome: Outcome | None = None
