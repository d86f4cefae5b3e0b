from types import SimpleNamespace

from legato.async_engine import LiveStats
from legato.core import Request, SamplingParams
from legato.engine import EngineStats, SpeculationFigures
from legato.metrics.prometheus import EngineGauges, ServerMetrics
from legato.server.engine_source import EngineSource, StepObserver


def test_a_step_is_observed_once_and_an_empty_turn_never():
    metrics = ServerMetrics(EngineGauges)
    observe = StepObserver(metrics)
    for steps in (0, 1, 1, 2):
        observe(EngineStats(steps=steps, step_duration_ns=500_000_000))
    text = metrics.render().decode()
    assert "legato_engine_step_seconds_count 2.0" in text
    assert "legato_engine_step_seconds_sum 1.0" in text


STEP = {
    **{"step_duration_ns": 10**9, "step_flops": 5e9, "peak_flops": 2e10, "step_rows": 12},
    **{"step_bytes": 4e9, "peak_bandwidth": 8e9, "step_decode_rows": 3},
}
FIRST_STEP = EngineStats(steps=1, preemptions=2, prompt_tokens=30, deadlines_met=4, **STEP)
SECOND_STEP = EngineStats(
    steps=2,
    preemptions=5,
    prompt_tokens=80,
    cached_prompt_tokens=20,
    deadlines_met=9,
    deadlines_missed=1,
    fluidity=(1.0, 0.8),
    prediction_error=0.07,
    draft_steps_ns=3 * 10**9,
    speculation=SpeculationFigures(
        *(1, 4, 1, (1, 1, *[0] * 14), (1, *[0] * 15)),
        drafter_ns=5 * 10**8,
        plain_ns=2e9,
        predicted_ns=2.5e9,
        expected_ns=1.5e9,
        earned_ns=1e9,
    ),
    **STEP,
)
ADDED_BY_TWO_STEPS = (
    "legato_preemptions_total 5.0",
    'legato_prefix_tokens_total{source="cache"} 20.0',
    'legato_prefix_tokens_total{source="computed"} 60.0',
    'legato_deadlines_total{outcome="met"} 9.0',
    'legato_deadlines_total{outcome="missed"} 1.0',
    'legato_engine_rows_total{kind="prompt"} 18.0',
    'legato_engine_rows_total{kind="decode"} 6.0',
    'legato_draft_tokens_total{outcome="right",place="0"} 1.0',
    'legato_draft_tokens_total{outcome="wrong",place="1"} 1.0',
    "legato_drafter_seconds_total 0.5",
    'legato_speculation_seconds_total{kind="taken"} 3.0',
    'legato_speculation_seconds_total{kind="predicted"} 2.5',
    'legato_speculation_seconds_total{kind="undrafted"} 3.0',
    'legato_speculation_seconds_total{kind="undrafted_expected"} 3.5',
    "legato_fluidity_index_count 2.0",
    "legato_engine_mfu 0.25",
    "legato_engine_mbu 0.5",
    "legato_step_prediction_error 0.07",
)


def test_totals_of_the_engine_become_counters_of_what_each_step_added():
    metrics = ServerMetrics(EngineGauges)
    observe = StepObserver(metrics)
    observe(FIRST_STEP)
    observe(SECOND_STEP)
    lines = metrics.render().decode().splitlines()
    for line in ADDED_BY_TWO_STEPS:
        assert line in lines, line


def test_the_engines_figures_become_status_and_gauges():
    engine = EngineStats(
        running=3, waiting=9, waiting_requests=2, free_blocks=5, used_blocks=4, cached_blocks=1
    )
    live = LiveStats(alive=False, engine=engine, last_step_age_s=1.5, oldest_waiting_s=2.5)
    status = EngineSource(SimpleNamespace(stats=lambda: live)).status()
    assert not status.alive
    assert status.gauges == EngineGauges(
        running=3,
        waiting=2,
        blocks_used=4,
        blocks_cached=1,
        blocks_total=10,
        last_step_age_s=1.5,
        oldest_waiting_s=2.5,
    )


def test_requests_and_cancellations_go_to_the_engine():
    calls = []
    engine = SimpleNamespace(
        generate=lambda request: calls.append(request) or "events",
        cancel=lambda *which: calls.append(which),
    )
    source = EngineSource(engine)
    request = Request(id="a", prompt=(1,), params=SamplingParams())
    assert source.generate(request) == "events"
    source.cancel("a", 1)
    assert calls == [request, ("a", 1)]
