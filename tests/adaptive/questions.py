"""Adaptive requests on the backend without a model, and what must come of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from legato.adaptive.answers import parse_answer_rule
from legato.adaptive.controller import AdaptiveCompute
from legato.adaptive.decisions import Strategy
from legato.adaptive.outcome import replay
from legato.adaptive.samples import Sample
from legato.core import FinishReason, Outcome, Request, TokenEvent
from null.fake_backend import Outputs, finish_all, make_engine, make_request, tokens_of

Windows = Sequence[int | None]
ANSWERS = 3  # different ones
NUMBERS = parse_answer_rule("last_number")


@dataclass
class Delta:
    text: str
    finish_reason: FinishReason | None


class Digits:
    """Text of one number a token, of few different ones."""

    def __init__(self, answers: int = ANSWERS, stop_token: int | None = None) -> None:
        self.answers = answers
        self.stop_token = stop_token

    def push(self, event: TokenEvent) -> Delta:
        if event.token_id is None:
            return Delta("", event.finish_reason)
        stops = event.token_id == self.stop_token
        reason = FinishReason.STOP if stops else event.finish_reason
        return Delta("" if stops else f" {event.token_id % self.answers}", reason)


def question(id: str = "q", *, compute: AdaptiveCompute, length: int = 40, **params) -> Request:
    fields = {"temperature": 1.0, "seed": 5, "max_tokens": 24, "ignore_eos": False} | params
    start = int(fields.pop("start", 0))
    return replace(make_request(id, length=length, start=start, **fields), compute=compute)


def voting(strategy: Strategy, **fields) -> AdaptiveCompute:
    return AdaptiveCompute(strategy=strategy, new_text=Digits, rule=NUMBERS, **fields)


def drawn_alone(request: Request, count: int, windows: Windows) -> list[list[TokenEvent]]:
    """The events of the first `count` samples of `request`, as of any request with so many."""
    params = replace(request.params, n=count, logprobs=0)
    engine, _ = make_engine(windows)
    outputs = finish_all(engine, replace(request, params=params, compute=None))
    return [outputs[request.id, index] for index in range(count)]


def as_sample(index: int, events: Sequence[TokenEvent]) -> Sample:
    text, stream = "", Digits()
    for event in events:
        text += stream.push(event).text
    chosen = [event.logprobs.chosen for event in events if event.logprobs is not None]
    return Sample(
        index=index,
        text=text,
        answer=NUMBERS.extract(text),
        tokens=len(tokens_of(events)),
        mean_logprob=sum(chosen) / len(chosen),
        finish_reason=events[-1].finish_reason,
    )


def expected(request: Request, windows: Windows = (None,)) -> tuple[Outcome, list[TokenEvent]]:
    """What the strategy of `request` makes of its samples one after another."""
    assert isinstance(request.compute, AdaptiveCompute)
    strategy = request.compute.strategy
    events = drawn_alone(request, strategy.max_samples, windows)
    outcome = replay(strategy, [as_sample(*pair) for pair in enumerate(events)])
    return outcome, events[outcome.winner]


def outcome_of(outputs: Outputs, id: str = "q") -> Outcome:
    outcome = outputs[id, 0][-1].outcome
    assert outcome is not None
    return outcome


def assert_decided(outputs: Outputs, request: Request, windows: Windows = (None,)) -> Outcome:
    """The winner, its tokens and the votes are those of the samples one after another."""
    wanted, events = expected(request, windows)
    outcome = outcome_of(outputs, request.id)
    assert (outcome.winner, outcome.answer) == (wanted.winner, wanted.answer)
    assert (outcome.votes, outcome.counted) == (wanted.votes, wanted.counted)
    assert outcome.confidence == wanted.confidence
    assert tokens_of(outputs[request.id, 0]) == tokens_of(events)
    assert outputs[request.id, 0][-1].finish_reason is events[-1].finish_reason
    return outcome
