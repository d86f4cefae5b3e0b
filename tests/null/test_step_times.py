"""What steps should take, what a request wants, and whose the machine's time was."""

from __future__ import annotations

from dataclasses import astuple, replace
from random import Random

import pytest
from fake_backend import finish_all, make_engine, make_request

from legato.assemble import simulate_engine
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import FinishReason, Objectives, Request
from legato.cost.correct import DRAFT_FACTORS
from legato.cost.decodes import DecodeCost
from legato.cost.estimate import StepCost
from legato.cost.growing import GrowingStep, attended
from legato.cost.machine import DEFAULT_PROFILE
from legato.errors import BackendError
from legato.program.ops import StepShape
from legato.scheduler.batch import Batch
from legato.scheduler.sequence import Sequence, make_samples
from legato.step_times import StepTimes, split_ns
from sim.hollow import hollow_program

MS = 1_000_000


@pytest.fixture(scope="module")
def program():
    return hollow_program()


def random_shape(random: Random) -> StepShape:
    sequences = tuple(
        (random.choice([1, 1, 7, 100]), random.randint(0, 900)) for _ in range(random.randint(1, 9))
    )
    return StepShape(sequences, random.randint(0, len(sequences)))


@pytest.mark.parametrize("seed", range(20))
def test_a_step_that_grows_costs_what_the_whole_step_costs(program, seed):
    cost, shape = StepCost(program, DEFAULT_PROFILE), random_shape(Random(seed))
    step = GrowingStep(cost)
    for number, (rows, past) in enumerate(shape.sequences):
        outputs = int(number < shape.outputs)
        before = step.ns_with(rows, past, outputs)
        step.add(rows, past, outputs)
        assert step.ns() == pytest.approx(before)
    assert step.ns() == pytest.approx(cost.predict_ns(shape), abs=1)
    assert sum(step.parts()) == pytest.approx(step.ns())


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("windows", [(None,), (None, 40), (16, 200)])
def test_a_step_of_decodes_costs_what_one_that_grows_costs(program, windows, seed):
    cost = StepCost(program, DEFAULT_PROFILE)
    attention = tuple(replace(cost.work.attention[0], window=window) for window in windows)
    cost.work = replace(cost.work, attention=attention)
    random, step = Random(seed), GrowingStep(cost)
    pasts = [random.randint(0, 300) for _ in range(random.randint(1, 9))]
    for past in pasts:
        step.add(1, past, 1)
    decodes = DecodeCost(cost)
    assert astuple(decodes.work(pasts)) == pytest.approx(astuple(step.work()))
    assert decodes.ns(decodes.work(pasts)) == pytest.approx(step.ns())
    assert decodes.parts(pasts) == pytest.approx(step.parts())


def test_windows_count_in_a_step_that_grows():
    for window in (None, 5, 40):
        for rows, past in ((1, 3), (1, 60), (9, 0), (9, 30), (50, 100)):
            seen = [
                range(max(0, p - window + 1) if window else 0, p + 1)
                for p in range(past, past + rows)
            ]
            pairs, read = sum(map(len, seen)), len(set().union(*seen))
            assert attended(window, rows, past) == (pairs, read)


def test_the_correction_multiplies_every_prediction(program):
    cost = StepCost(program, DEFAULT_PROFILE)
    once, twice = GrowingStep(cost), GrowingStep(cost, factor=2.0)
    for step in (once, twice):
        step.add(1, 100, 1)
    assert twice.ns() == pytest.approx(2 * once.ns())
    assert twice.ns_with(60, 0, 1) == pytest.approx(2 * once.ns_with(60, 0, 1))


@pytest.mark.parametrize(("slowness", "factor"), [(1.1, 1.1), (1.0, 1.0), (2.0, DRAFT_FACTORS[1])])
@pytest.mark.parametrize("drafts", [((), (4, 5)), ((), (4, 5), (4, 5), (4, 5)), ((4, 5),)])
def test_steps_that_verify_drafts_are_learnt_apart_within_bounds(program, slowness, factor, drafts):
    times = StepTimes(program, DEFAULT_PROFILE, EngineConfig())
    (sequence,) = make_samples(
        make_request("a", 3),
        arrival=0,
        seed=0,
        due_ns=0,
        tbt_ns=1,
        length_limit=99,
        stop_ids=frozenset(),
    )
    sequence.num_computed = 2
    for draft in drafts * 300:
        sequence.draft = draft
        step = times.price(Batch([sequence], [1 + len(draft)]))
        assert step.verifies == bool(draft)
        times.observe(step, round(step.raw_ns * (slowness if draft else 1.0)))
    assert times.correction.error < 0.02 or factor != slowness
    plan, plain = times.plan(has_prompts=False), StepCost(program, DEFAULT_PROFILE)
    plan.add(1, 100, 1)
    raw_ns = plain.predict_ns(StepShape(((1, 100),), 1))
    if () in drafts:
        assert plan.ns() == pytest.approx(raw_ns, rel=0.02)
        assert plan.ns_widened(0, 100) == pytest.approx(factor * raw_ns, rel=0.02)
    else:
        assert plan.ns_widened(0, 100) == pytest.approx(slowness * raw_ns, rel=0.02)


@pytest.mark.parametrize("prompts", [0.85, 1.15])
def test_what_is_learnt_of_drafts_leaves_out_what_is_learnt_of_prompts(program, prompts):
    times = StepTimes(program, DEFAULT_PROFILE, EngineConfig())
    prompt = Batch(make_samples_of(make_request(length=101)), [50])
    decode = Batch(make_samples_of(make_request(length=101)), [1])
    drafts = Batch(make_samples_of(make_request(length=101)), [3])
    decode.sequences[0].num_computed = drafts.sequences[0].num_computed = 100
    drafts.sequences[0].draft = (4, 5)
    for _ in range(300):
        for batch, slowness in ((prompt, prompts), (decode, 1.0), (drafts, 1.0)):
            step = times.price(batch)
            times.observe(step, round(step.raw_ns * slowness))
    plan = times.plan(has_prompts=False)
    plan.add(1, 100, 1)
    alone_ns = StepCost(program, DEFAULT_PROFILE).predict_ns(StepShape(((1, 100),), 1))
    assert plan.ns_widened(0, 100) == pytest.approx(alone_ns, rel=0.02)


def test_objectives_are_the_requests_own_else_the_engines_else_what_the_machine_can(program):
    def times(**config: object) -> StepTimes:
        return StepTimes(program, DEFAULT_PROFILE, EngineConfig(**config))

    own = Objectives(ttft_ns=5 * MS, tbt_ns=7 * MS)
    assert times(ttft_ms=200).ttft_ns(own, 100) == 5 * MS
    assert times(ttft_ms=200).ttft_ns(Objectives(), 100) == 200 * MS
    assert times(tbt_ms=30).tbt_ns(own) == 7 * MS
    assert times(tbt_ms=30).tbt_ns(Objectives()) == 30 * MS
    automatic = times()
    assert automatic.ttft_ns(Objectives(), 2000) > automatic.ttft_ns(Objectives(), 20)
    assert automatic.ttft_ns(Objectives(), 2000) > 3 * automatic.prefill_ns(2000)
    assert times(max_sequences=64).tbt_ns(Objectives()) > times(max_sequences=8).tbt_ns(
        Objectives()
    )


@pytest.mark.parametrize("parts", [[1.0], [0.0, 0.0, 0.0], [1, 2, 3], [0.1] * 7, [1e9, 1e-9]])
@pytest.mark.parametrize("total", [0, 1, 10, 999_999_937, 10**15])
def test_shares_are_integers_that_add_up(parts, total):
    shares = split_ns(total, parts)
    assert sum(shares) == total
    assert all(isinstance(share, int) and share >= 0 for share in shares)
    whole = sum(parts)
    if whole:
        for share, part in zip(shares, parts, strict=True):
            assert share == pytest.approx(total * part / whole, abs=1 + total * 1e-12)


def crowd() -> list:
    return [
        make_request(f"r{i}", 5 + 23 * i, start=i, n=1 + i % 3, max_tokens=4 + 5 * i)
        for i in range(8)
    ]


def slow(engine, backend):
    """Every step takes an odd number of nanoseconds."""
    backend.fault = lambda run: engine._clock.advance(1_000_003 + 17 * run)
    return engine


def test_machine_time_of_all_samples_is_the_time_of_all_steps():
    engine, backend = make_engine(max_sequences=5, max_batch_tokens=40, num_kv_blocks=40)
    slow(engine, backend)
    outputs = finish_all(engine, *crowd())
    ends = [events[-1].machine_ns for events in outputs.values()]
    assert all(end > 0 for end in ends)
    assert sum(ends) == engine._clock.now_ns()  # it moved in steps only
    assert all(event.machine_ns == 0 for events in outputs.values() for event in events[:-1])


def test_idle_time_belongs_to_nobody():
    engine, backend = make_engine()
    slow(engine, backend)
    before = finish_all(engine, make_request("a"))["a", 0][-1].machine_ns
    start = engine._clock.now_ns()
    engine._clock.advance(10**9)
    after = finish_all(engine, make_request("b"))["b", 0][-1].machine_ns
    assert before == start
    assert before + after == engine._clock.now_ns() - 10**9


def test_what_ends_early_has_taken_machine_time_too():
    engine, backend = make_engine()
    slow(engine, backend)
    for name in "abc":
        engine.add(make_request(name, max_tokens=30))
    for _ in range(5):
        engine.step()
    engine.cancel("a")
    ends = {e.request_id: e for e in engine.step() if e.finish_reason is not None}

    def fail(run: int) -> None:
        engine._clock.advance(777)
        raise BackendError("made to fail")

    backend.fault = fail
    ends |= {e.request_id: e for e in engine.step()}
    assert ends["a"].finish_reason is FinishReason.CANCELLED
    assert ends["b"].finish_reason is FinishReason.ERROR
    assert sum(event.machine_ns for event in ends.values()) == engine._clock.now_ns()


def test_a_long_prompt_pays_more_than_the_stream_beside_it(program):
    config = EngineConfig(num_kv_blocks=400, tbt_ms=1000)
    engine = simulate_engine(program, DEFAULT_PROFILE, config, VirtualClock())
    engine.add(make_request("stream", 8, max_tokens=2))
    engine.step()
    engine.add(make_request("long", 200, max_tokens=1))
    ends = {event.request_id: event.machine_ns for event in engine.step()}
    assert ends["long"] > 10 * (ends["stream"] / 2)


def test_predictions_follow_a_machine_that_is_slower_than_its_profile():
    program = hollow_program()
    times = StepTimes(program, DEFAULT_PROFILE, EngineConfig())
    slower = StepCost(program, DEFAULT_PROFILE.times_as_fast(0.5))
    shape = StepShape(((1, 100),), 1)
    batch = Batch(make_samples_of(make_request(length=101)), [1])
    batch.sequences[0].num_computed = 100
    for _ in range(300):
        times.observe(times.price(batch), slower.predict_ns(shape))
    assert times.price(batch).predicted_ns == pytest.approx(slower.predict_ns(shape), rel=0.05)
    assert times.plan(has_prompts=True).ns_with(1, 100, 1) == pytest.approx(
        slower.predict_ns(shape), rel=0.05
    )


def test_steps_with_prompts_that_take_longer_at_times_widen_the_spread():
    program = hollow_program()
    times = StepTimes(program, DEFAULT_PROFILE, EngineConfig())
    prompt = Batch(make_samples_of(make_request(length=101)), [50])
    decode = Batch(make_samples_of(make_request(length=101)), [1])
    decode.sequences[0].num_computed = 100
    for batch, spread in ((decode, 1.0), (prompt, 1.1)):
        for number in range(400):
            step = times.price(batch)
            times.observe(step, round(step.raw_ns * (1.1 if number % 4 == 0 else 1.0)))
        assert times.plan(has_prompts=True).spread == pytest.approx(spread, rel=0.04)


def test_a_prompt_row_takes_longer_the_more_come_before_it():
    times = StepTimes(hollow_program(), DEFAULT_PROFILE, EngineConfig())
    for decodes in (0, 4):
        rows_ns = [times.row_ns(decodes, 100, 50 * MS, past) for past in (0, 500, 4000)]
        assert rows_ns == sorted(set(rows_ns))


def make_samples_of(request: Request) -> list[Sequence]:
    return make_samples(
        request, arrival=1, seed=1, due_ns=1, tbt_ns=1, length_limit=500, stop_ids=frozenset()
    )
