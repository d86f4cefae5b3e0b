"""Constrained requests through the engine: who may choose what, and who is hurt by a fault."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from fake_backend import (
    EOS,
    alone,
    finish_all,
    make_engine,
    make_request,
    summary,
    tokens_of,
)

from legato.core import FinishReason, Request
from legato.errors import InvalidRequestError


@dataclass
class Countdown:
    """A constraint and its matcher: tokens fall by one or two from 50 on, then comes the end."""

    breaks_at: int = -1
    refuses_at: int = -1
    accepted: list[int] = field(default_factory=list)
    started: int = 0

    def start(self) -> Countdown:
        self.started += 1
        return Countdown(self.breaks_at, self.refuses_at)

    def fill_mask(self, mask: np.ndarray) -> None:
        if len(self.accepted) == self.breaks_at:
            raise ValueError("a matcher that fails")
        mask[:] = 0
        last = self.accepted[-1] if self.accepted else 50
        for token in [t for t in range(max(0, last - 2), last) if t != EOS] or [EOS]:
            mask[token // 32] |= np.uint32(1 << token % 32)

    def accept(self, token: int) -> None:
        if len(self.accepted) == self.refuses_at:
            raise ValueError("a token that is not allowed")
        self.accepted.append(token)

    def rollback(self, count: int) -> None:
        raise NotImplementedError


def constrained(id: str = "c", *, constraint: Countdown | None = None, **params) -> Request:
    fields = {"ignore_eos": False, "max_tokens": 80} | params
    return replace(make_request(id, **fields), constraint=constraint or Countdown())


def test_every_token_obeys_the_mask_and_the_end_is_reached():
    events = alone(constrained())["c", 0]
    tokens = tokens_of(events)
    assert tokens[-1] == EOS
    assert tokens[:-1] == sorted(set(tokens[:-1]), reverse=True)
    assert events[-1].finish_reason is FinishReason.STOP


def test_each_sample_has_a_matcher_of_its_own():
    constraint = Countdown()
    outputs = alone(constrained(constraint=constraint, n=3, temperature=1.0, seed=5))
    assert constraint.started == 3
    assert constraint.accepted == []
    texts = [tokens_of(outputs["c", index]) for index in range(3)]
    assert len({tuple(text) for text in texts}) > 1
    assert all(text[:-1] == sorted(set(text[:-1]), reverse=True) for text in texts)


def test_preemption_keeps_the_matcher_where_it_was():
    requests = [constrained(f"r{i}", start=i, n=2, length=40) for i in range(6)]
    engine, _ = make_engine(num_kv_blocks=24, max_batch_tokens=32)
    outputs = finish_all(engine, *requests)
    assert engine.stats().preemptions > 0
    for request in requests:
        for key, events in alone(request).items():
            assert summary(outputs[key]) == summary(events)


def test_company_is_not_constrained():
    bystander = make_request("b", start=3)
    engine, _ = make_engine()
    outputs = finish_all(engine, constrained(), bystander, constrained("d"))
    assert summary(outputs["b", 0]) == summary(alone(bystander)["b", 0])


@pytest.mark.parametrize("fault", [{"breaks_at": 3}, {"refuses_at": 3}])
def test_a_matcher_that_fails_ends_its_request_alone(fault):
    bystander, other = make_request("b", start=3), constrained("d")
    engine, _ = make_engine()
    broken = constrained(constraint=Countdown(**fault))
    outputs = finish_all(engine, broken, bystander, other)
    last = outputs["c", 0][-1]
    assert last.finish_reason is FinishReason.ERROR
    assert "a matcher that" not in str(last.error)
    assert summary(outputs["b", 0]) == summary(alone(bystander)["b", 0])
    assert summary(outputs["d", 0]) == summary(alone(other)["d", 0])


def test_a_constraint_that_cannot_start_refuses_its_request():
    class Broken:
        def start(self):
            raise ValueError("no")

    engine, _ = make_engine()
    with pytest.raises(ValueError):
        engine.add(replace(make_request(ignore_eos=False), constraint=Broken()))
    assert not engine.has_work
    engine.check_integrity()


def test_min_tokens_delays_a_stop_token_but_not_the_end_of_the_language():
    stops = (47, 44, 41)
    plain = tokens_of(alone(constrained(stop_token_ids=stops))["c", 0])
    held = tokens_of(alone(constrained(stop_token_ids=stops, min_tokens=12))["c", 0])
    assert len(plain) < 12 <= len(held)
    assert tokens_of(alone(constrained(min_tokens=70))["c", 0])[-1] == EOS


def test_a_stop_token_ends_a_constrained_sample():
    events = alone(constrained(stop_token_ids=tuple(t for t in range(50) if t != EOS)))["c", 0]
    assert len(events) == 1
    assert events[0].finish_reason is FinishReason.STOP


def test_going_on_after_the_end_is_refused_where_a_form_is_prescribed():
    engine, _ = make_engine()
    with pytest.raises(InvalidRequestError) as caught:
        engine.check(constrained(ignore_eos=True))
    assert caught.value.param == "ignore_eos"
