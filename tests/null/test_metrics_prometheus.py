import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from legato.metrics.price import MachinePrice
from legato.metrics.prometheus import Endpoint, EngineGauges, Outcome, ServerMetrics
from legato.metrics.tally import Tally
from legato.metrics.timeline import Timeline

SECOND = 1_000_000_000


def samples(metrics: ServerMetrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        sample.name + "".join(f"|{v}" for v in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_sample_feeds_the_latency_histograms():
    metrics = ServerMetrics(EngineGauges)
    metrics.observe_sample(Timeline(0, [SECOND, 2 * SECOND, 5 * SECOND]))
    found = samples(metrics)
    assert found["legato_ttft_seconds_sum"] == 1.0
    assert found["legato_tbt_seconds_count"] == 2
    assert found["legato_tbt_seconds_sum"] == 4.0
    assert found["legato_e2e_seconds_sum"] == 5.0
    assert found["legato_output_tokens_total"] == 3


def test_machine_time_adds_up_and_is_priced():
    metrics = ServerMetrics(EngineGauges, MachinePrice(3.6))
    for machine_ns in (1, 2, SECOND - 3):
        metrics.machine.add(machine_ns)
    found = samples(metrics)
    assert found["legato_request_machine_seconds_total"] == 1.0
    assert found["legato_request_cost_total"] == 0.001


def test_without_a_price_there_is_no_cost():
    assert "legato_request_cost_total" not in samples(ServerMetrics(EngineGauges))


def test_gauges_are_read_at_the_scrape():
    state = [EngineGauges(running=2, blocks_total=10)]
    metrics = ServerMetrics(lambda: state[0])
    assert samples(metrics)["legato_sequences_running"] == 2
    state[0] = EngineGauges(running=0, blocks_total=10)
    found = samples(metrics)
    assert found["legato_sequences_running"] == 0
    assert found["legato_kv_blocks"] == 10


def test_every_label_value_comes_from_an_enum():
    metrics = ServerMetrics(EngineGauges)
    for endpoint in Endpoint:
        for outcome in Outcome:
            metrics.count_call(endpoint, outcome)
    calls = [name for name in samples(metrics) if name.startswith("legato_calls_total")]
    assert len(calls) == len(Endpoint) * len(Outcome)


def test_two_registries_do_not_share_counts():
    one, other = ServerMetrics(EngineGauges), ServerMetrics(EngineGauges)
    one.count_prompt(5, cached=2)
    assert samples(one)["legato_cached_prompt_tokens_total"] == 2
    assert samples(other)["legato_prompt_tokens_total"] == 0


def test_a_sample_without_tokens_has_no_latency():
    metrics = ServerMetrics(EngineGauges)
    metrics.observe_sample(Timeline(0))
    assert samples(metrics)["legato_ttft_seconds_count"] == 0


def test_a_tally_is_the_histogram_of_the_library():
    bounds, values = (0.5, 1, 2.5), (0.1, 0.5, 0.6, 1.0, 2.4, 2.5, 3.0, 100.0)
    registries = CollectorRegistry(), CollectorRegistry()
    theirs = Histogram("some_seconds", "What.", buckets=bounds, registry=registries[0])
    ours = Tally("some_seconds", "What.", bounds, registries[1])
    for value in values:
        theirs.observe(value)
    ours.observe_all(values)
    expected, found = (generate_latest(registry).decode() for registry in registries)
    created = [line for line in expected.splitlines() if "_created" not in line]
    assert found.splitlines() == created


def test_a_tally_takes_its_name():
    registry = CollectorRegistry()
    Tally("some_seconds", "What.", (1,), registry)
    with pytest.raises(ValueError, match="Duplicated"):
        Tally("some_seconds", "What.", (1,), registry)
