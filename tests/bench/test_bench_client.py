"""The client against a server that plays scripts: timings agree, misbehaviour has a name."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from legato.bench.arrivals import Constant, Users
from legato.bench.client import Client
from legato.bench.endpoint import Endpoint
from legato.bench.lengths import Fixed
from legato.bench.load import Load
from legato.bench.outcome import FailureKind, Outcome
from legato.bench.replay import ReplayServer
from legato.bench.run import Limits, Run
from legato.bench.script import Script, Step
from legato.bench.workload import Workload

MS = 1_000_000
HELLO = Script(
    steps=(
        Step(after_ms=3, text="Hé"),
        Step(after_ms=2, comment="ping"),
        Step(after_ms=2, text="l😀o", tokens=3),
        Step(after_ms=4, text="!"),
    )
)
QUESTION = [{"role": "user", "content": "hello"}]


@pytest.fixture(autouse=True, params=["kernel", "loop"])
def stamped_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds for both kinds of connections."""
    if request.param == "loop":
        monkeypatch.setattr("legato.bench.client.HAVE_RECEIVER", False)


def ask(
    *scripts: Script, questions: int = 1, timeout_s: float = 5.0, needs_done: bool = True
) -> list[Outcome]:
    async def exchange() -> list[Outcome]:
        async with ReplayServer(scripts) as server:
            client = Client(Endpoint(url=server.url), timeout_s=timeout_s, needs_done=needs_done)
            outcomes = [await client.ask(QUESTION, 8) for _ in range(questions)]
            client.close()
            return outcomes

    return asyncio.run(exchange())


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_text_tokens_and_order_are_right_however_the_stream_is_cut(cut: int) -> None:
    (outcome,) = ask(replace(HELLO, cut=cut))
    assert outcome.failure is None, outcome.detail
    assert outcome.text == "Hél😀o!"
    assert outcome.timeline.output_tokens == 5
    assert outcome.finish_reason == "length"
    assert outcome.counted_by == "usage"


def test_measured_times_agree_with_the_script() -> None:
    (outcome,) = ask(HELLO)
    stamps = outcome.timeline.stamps_ns
    assert stamps[0] - outcome.sent_ns >= 3 * MS
    # sleeps last at least as long as scripted; the server may write late but not early
    assert stamps[1] - stamps[0] >= 3 * MS
    assert stamps[-1] - outcome.sent_ns >= 11 * MS
    assert outcome.ended_ns >= stamps[-1]
    difference = outcome.ttft_difference_ms
    assert difference is not None
    assert 0 <= difference < 250


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (replace(HELLO, status=503), FailureKind.OVERLOADED),
        (replace(HELLO, status=429), FailureKind.OVERLOADED),
        (replace(HELLO, status=400), FailureKind.REFUSED),
        (replace(HELLO, status=500), FailureKind.SERVER_ERROR),
        (replace(HELLO, reset=True), FailureKind.RESET),
        (replace(HELLO, done=False), FailureKind.INCOMPLETE),
        (replace(HELLO, finish_reason=""), FailureKind.INCOMPLETE),
        (Script(), FailureKind.EMPTY),
        (Script(steps=(Step(raw='data: {"choi\n\n'),)), FailureKind.MALFORMED),
        (Script(steps=(Step(raw='data: {"choices": [{"delta"'),)), FailureKind.MALFORMED),
        (Script(steps=(Step(raw='data: {"error": "no"}\n\n'),)), FailureKind.STREAM_ERROR),
    ],
)  # fmt: skip
def test_misbehaviour_is_a_failure_with_a_name(script: Script, kind: FailureKind) -> None:
    (outcome,) = ask(script)
    assert outcome.failure is kind
    assert outcome.detail
    assert outcome.ended_ns > outcome.sent_ns


def test_a_stream_without_done_is_complete_where_that_is_allowed() -> None:
    assert ask(replace(HELLO, done=False), needs_done=False)[0].succeeded
    unfinished = replace(HELLO, done=False, finish_reason="")
    assert ask(unfinished, needs_done=False)[0].failure is FailureKind.INCOMPLETE


def test_who_listens_hears_a_piece_before_the_answer_is_complete() -> None:
    stuck = Script(steps=(Step(text="first"), Step(after_ms=60_000, text="never")))

    async def exchange() -> str:
        heard: asyncio.Queue[str] = asyncio.Queue()
        async with ReplayServer([stuck]) as server:
            client = Client(Endpoint(url=server.url))
            asking = asyncio.create_task(client.ask(QUESTION, 8, on_text=heard.put_nowait))
            try:
                return await asyncio.wait_for(heard.get(), timeout=5)
            finally:
                asking.cancel()
                await asking

    assert asyncio.run(exchange()) == "first"


def test_what_came_before_a_failure_is_kept() -> None:
    (outcome,) = ask(replace(HELLO, reset=True))
    assert outcome.text == "Hél😀o!"
    assert not outcome.succeeded


def test_half_a_line_at_the_end_is_a_failure() -> None:
    script = Script(
        steps=(Step(text="a"), Step(raw="data: [DO")), usage=False, done=False, finish_reason=""
    )
    assert ask(script)[0].failure is FailureKind.INCOMPLETE


def test_a_deadline_ends_what_is_never_answered() -> None:
    (outcome,) = ask(Script(silent=True), timeout_s=0.02)
    assert outcome.failure is FailureKind.DEADLINE


def test_without_usage_chunks_are_counted() -> None:
    (outcome,) = ask(replace(HELLO, usage=False))
    assert outcome.counted_by == "chunks"
    assert outcome.timeline.output_tokens == 3


def test_nobody_at_the_address_is_a_failure() -> None:
    outcome = asyncio.run(Client(Endpoint(url="http://127.0.0.1:1")).ask(QUESTION, 8))
    assert outcome.failure is FailureKind.CONNECT


def test_a_client_recovers_after_each_failure() -> None:
    scripts = (HELLO, replace(HELLO, reset=True), replace(HELLO, status=503), HELLO)
    kinds = [outcome.failure for outcome in ask(*scripts, questions=4)]
    assert kinds == [None, FailureKind.RESET, FailureKind.OVERLOADED, None]


def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
    async def exchange() -> Outcome:
        async with ReplayServer([HELLO]) as first:
            port = int(first.url.rpartition(":")[2])
            client = Client(Endpoint(url=first.url))
            assert (await client.ask(QUESTION, 8)).succeeded
        async with ReplayServer([HELLO], port=port):
            outcome = await client.ask(QUESTION, 8)
            client.close()
            return outcome

    assert asyncio.run(exchange()).succeeded


def load(workload: Workload, limits: Limits, *scripts: Script, interrupt: bool = False) -> Run:
    async def drive() -> Run:
        async with ReplayServer(scripts) as server:
            client = Client(Endpoint(url=server.url))
            driven = Load(client, workload, limits)
            task = asyncio.create_task(driven.drive())
            if interrupt:
                while not (driven.run.outcomes and driven.run.pending):
                    await asyncio.sleep(0.001)
                task.cancel()
            run = await task
            client.close()
            return run

    return asyncio.run(drive())


SHORT = Workload(arrivals=Constant(500), prompt_words=Fixed(2), output_tokens=Fixed(4))
QUICK = Script(steps=(Step(text="a"), Step(text="b")))


def test_an_open_loop_sends_at_the_due_times_whatever_the_server_does() -> None:
    slow = Script(steps=(Step(after_ms=20, text="a"),))
    run = load(SHORT, Limits(conversations=5), slow)
    arrivals = [outcome.timeline.arrival_ns - run.origin_ns for outcome in run.outcomes]
    assert sorted(arrivals) == [number * 2 * MS for number in range(5)]
    assert all(outcome.sent_ns >= outcome.timeline.arrival_ns for outcome in run.outcomes)


def test_a_closed_loop_never_has_more_requests_than_users() -> None:
    run = load(replace(SHORT, arrivals=Users(2)), Limits(conversations=8), QUICK)
    assert len(run.outcomes) == 8
    spans = [(o.sent_ns, o.timeline.stamps_ns[-1]) for o in run.outcomes]
    for start, _ in spans:
        assert sum(a <= start < b for a, b in spans) <= 2


def test_turns_of_a_conversation_follow_each_other() -> None:
    run = load(replace(SHORT, turns=3), Limits(conversations=1), QUICK)
    assert len(run.outcomes) == 3
    for before, after in zip(run.outcomes, run.outcomes[1:], strict=False):
        assert after.sent_ns >= before.timeline.stamps_ns[-1]


def test_warm_up_is_marked_and_left_out() -> None:
    run = load(SHORT, Limits(conversations=6, warmup_s=0.005), QUICK)
    assert [outcome.warmup for outcome in run.outcomes].count(True) == 3
    assert len(run.measured) == 3


def test_an_interrupted_run_keeps_what_there_is_and_counts_the_rest_as_failed() -> None:
    scripts = [QUICK, Script(silent=True)]
    run = load(SHORT, Limits(), *scripts, interrupt=True)
    assert run.interrupted
    kinds = {outcome.failure for outcome in run.outcomes}
    assert kinds == {None, FailureKind.UNFINISHED}
    assert not run.pending


def test_the_difference_of_both_ttfts_leaves_out_connecting() -> None:
    (outcome,) = ask(HELLO)
    assert outcome.timeline.arrival_ns <= outcome.sent_ns <= outcome.written_ns
    assert outcome.written_ns <= outcome.timeline.stamps_ns[0]
    outcome.sent_ns, outcome.server_ttft_ms = 0, 0.0
    since_writing_ms = (outcome.timeline.stamps_ns[0] - outcome.written_ns) / MS
    assert outcome.ttft_difference_ms == since_writing_ms
    read_back = Outcome.from_json(outcome.to_json(0))
    assert read_back.written_ns == pytest.approx(outcome.written_ns, abs=MS)


@pytest.mark.parametrize("role", [True, False])
def test_a_chunk_with_the_role_alone_comes_first_where_it_is_scripted(role: bool) -> None:
    async def first_event() -> bytes:
        async with ReplayServer([replace(HELLO, role=role)]) as server:
            port = int(server.url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            event = await reader.readuntil(b"data: ") and await reader.readuntil(b"\n\n")
            writer.close()
            return event

    assert (b'"role"' in asyncio.run(first_event())) == role
