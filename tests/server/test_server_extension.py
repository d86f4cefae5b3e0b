import json

import pytest
from asgi_client import AsgiClient
from fake_source import FakeSource, make_service

from legato.bench import objectives as bench_objectives
from legato.bench.answer import Answer
from legato.bench.figures import figures_of
from legato.bench.outcome import Outcome
from legato.bench.run import Run
from legato.bench.sse import EventSplitter
from legato.core import FinishReason, Objectives, TokenEvent
from legato.metrics.price import MachinePrice
from legato.metrics.timeline import Timeline
from legato.server.answer_models import Extension
from legato.server.app import create_app
from legato.server.settings import ServerSettings

BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
}
HOUR_NS = 3_600_000_000_000


def last_extension(answer, stream):
    """The `legato` object of an answer, or of the last chunk of a stream."""
    if not stream:
        return answer.json()["legato"]
    blocks = [b for b in answer.body.decode().split("\n\n") if b and "[DONE]" not in b]
    chunks = [json.loads(block.rpartition("data: ")[2]) for block in blocks]
    assert all(not chunk.get("legato") for chunk in chunks[:-1])
    last = chunks[-1]
    return (last.get("response") or last)["legato"]


class MachineTime(FakeSource):
    """Every sample took `took_ns` of the machine; a cancelled one too, as its last event says.
    Of `drafts[0]` drafted tokens `drafts[1]` were accepted."""

    took_ns = HOUR_NS
    drafts = (0, 0)

    async def generate(self, request):
        async for event in super().generate(request):
            if self.cancelled_samples:
                yield self.ending(request, FinishReason.CANCELLED)
                return
            if event.finish_reason is None:
                yield event
        yield self.ending(request, FinishReason.LENGTH)

    def ending(self, request, reason):
        return TokenEvent(
            request_id=request.id,
            index=0,
            token_id=None if reason is FinishReason.CANCELLED else 65,
            time_ns=0,
            finish_reason=reason,
            machine_ns=self.took_ns,
            drafted=self.drafts[0],
            accepted=self.drafts[1],
        )


def priced() -> tuple[AsgiClient, MachineTime]:
    source = MachineTime()
    service = make_service(source, price=MachinePrice(2.5))
    return AsgiClient(create_app(service, ServerSettings())), source


@pytest.mark.parametrize("path", BODIES)
def test_objectives_reach_the_engine(client, source, path):
    slo = {"ttft_ms": 250, "tbt_ms": 33.5}
    assert client.post(path, {**BODIES[path], "legato": {"slo": slo}}).status == 200
    assert source.requests[0].objectives == Objectives(ttft_ns=250_000_000, tbt_ns=33_500_000)
    client.post(path, {**BODIES[path], "legato": {"slo": {"tbt_ms": None}}})
    assert source.requests[1].objectives == Objectives()


@pytest.mark.parametrize("path", BODIES)
def test_the_depth_of_drafts_reaches_the_engine(client, source, path):
    assert client.post(path, {**BODIES[path], "legato": {"draft_tokens": 3}}).status == 200
    client.post(path, BODIES[path])
    assert [request.draft_tokens for request in source.requests] == [3, None]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("options", "param"),
    [
        (5, "legato"),
        ({"foo": 1}, "legato.foo"),
        ({"slo": 5}, "legato.slo"),
        ({"draft_tokens": -1}, "legato.draft_tokens"),
        ({"draft_tokens": 33}, "legato.draft_tokens"),
        ({"draft_tokens": "4"}, "legato.draft_tokens"),
        ({"slo": {"ttft_ms": 0}}, "legato.slo.ttft_ms"),
        ({"slo": {"ttft_ms": -1}}, "legato.slo.ttft_ms"),
        ({"slo": {"tbt_ms": 1e18}}, "legato.slo.tbt_ms"),
        ({"slo": {"tbt_ms": "5"}}, "legato.slo.tbt_ms"),
        ({"slo": {"tbt_ms": True}}, "legato.slo.tbt_ms"),
        ({"timing": 1}, "legato.timing"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(client, source, path, options, param):
    answer = client.post(path, {**BODIES[path], "legato": options})
    assert (answer.status, answer.error["param"]) == (400, param)
    assert source.requests == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_times_of_every_token_on_request(client, source, path, stream):
    source.cached = 3
    body = {**BODIES[path], "stream": stream}
    plain = Extension.model_validate(last_extension(client.post(path, body), stream))
    assert plain.timing.choices is None
    assert plain.cost is None
    assert plain.cached_tokens == 3
    answer = client.post(path, {**body, "legato": {"timing": True}})
    (times,) = Extension.model_validate(last_extension(answer, stream)).timing.choices
    assert len(times.step_ms) == len(times.delivery_ms) == len("Hello, world") + 1
    assert times.delivery_ms == sorted(times.delivery_ms)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_an_answer_tells_its_price_where_the_machine_has_one(path, stream):
    client, _ = priced()
    answer = client.post(path, {**BODIES[path], "stream": stream})
    cost = Extension.model_validate(last_extension(answer, stream)).cost
    assert (cost.machine_ms, cost.price) == (3_600_000, 2.5)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
def test_an_answer_tells_how_many_tokens_were_drafted_for_it(path, stream):
    client, source = priced()
    body = {**BODIES[path], "stream": stream}
    answer = Extension.model_validate(last_extension(client.post(path, body), stream))
    assert answer.speculation is None
    source.drafts = (9, 7)
    answer = Extension.model_validate(last_extension(client.post(path, body), stream))
    assert (answer.speculation.drafted, answer.speculation.accepted) == (9, 7)


class Guessed(FakeSource):
    """Two tokens are drafted for each token, and one of them accepted."""

    async def generate(self, request):
        count = 0
        async for event in super().generate(request):
            count += 1
            event.drafted, event.accepted = 2 * count, count
            yield event


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_that_a_stop_string_ended_tells_its_drafts(stream):
    client = AsgiClient(create_app(make_service(Guessed()), ServerSettings()))
    body = {"prompt": "hi", "stop": "wor", "max_tokens": 50, "stream": stream}
    answer = Extension.model_validate(last_extension(client.post("/v1/completions", body), stream))
    count = len("Hello, wor")
    assert (answer.speculation.drafted, answer.speculation.accepted) == (2 * count, count)


@pytest.mark.parametrize("stream", [False, True])
def test_the_price_of_a_text_that_a_stop_string_ended_comes_with_its_last_event(stream):
    client, source = priced()
    path = "/v1/completions"
    body = {"prompt": "hi", "stop": "wor", "max_tokens": 50, "stream": stream}
    cost = Extension.model_validate(last_extension(client.post(path, body), stream)).cost
    assert cost.price == 2.5
    assert source.cancelled_samples == [(source.requests[0].id, 0)]


def test_no_nanosecond_is_lost_from_the_engine_to_the_measurement():
    """Response, /metrics and the report of `legato bench` give the same sum, exactly."""
    client, source = priced()
    times_ns = [1, 999_999, 1_000_001, 123_456_789_017, 7_777_777_777_777]
    run = Run(0, ended_ns=1)
    for source.took_ns in times_ns:
        body = {**BODIES["/v1/chat/completions"], "stream": True}
        answer = Answer()
        for event in EventSplitter().feed(client.post("/v1/chat/completions", body).body):
            answer.take(event, 0)
        outcome = Outcome(Timeline(0))
        answer.settle(outcome)
        run.outcomes.append(Outcome.from_json(json.loads(json.dumps(outcome.to_json(0)))))
    figures = figures_of(run, bench_objectives.Objectives(), MachinePrice(2.5))
    assert figures["machine"]["ns"] == sum(times_ns)
    metrics = client.get("/metrics").body.decode()
    assert f"legato_request_machine_seconds_total {sum(times_ns) / 1e9!r}" in metrics
    assert f"legato_request_cost_total {MachinePrice(2.5).machine_cost(sum(times_ns))!r}" in metrics
