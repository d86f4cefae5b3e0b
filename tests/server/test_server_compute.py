"""`legato.compute` through the whole server, on an engine without a model."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence

import pytest
from asgi_client import AsgiClient
from fake_source import ByteTokenizer, FakeSource, make_service

from legato.core import Request, TokenEvent
from legato.engine import Engine
from legato.metrics.price import MachinePrice
from legato.server.app import create_app
from legato.server.settings import ServerSettings
from null.fake_backend import EOS, VOCAB, make_engine

BODIES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 40},
    "/v1/completions": {"prompt": "hi", "max_tokens": 40},
    "/v1/responses": {"input": "hi", "max_output_tokens": 40},
}
GENERATE = pytest.mark.parametrize("path", BODIES)
VOTES = {"strategy": "self_consistency", "max_samples": 6, "answer": "regex:[AB]"}


class SmallTokenizer(ByteTokenizer):
    """Bytes as ids of the vocabulary that there is."""

    vocab_size = VOCAB
    eos_ids = special_ids = frozenset({EOS})

    def encode(self, text: str, **options: bool) -> list[int]:
        return [byte % VOCAB for byte in super().encode(text, add_special_tokens=False)]

    def token_bytes(self, token_id: int) -> bytes:
        return bytes([token_id])


class DirectSource(FakeSource):
    """Steps an engine while somebody waits for events."""

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    async def generate(self, request: Request) -> AsyncIterator[TokenEvent]:
        self.requests.append(request)
        self.engine.add(request)
        try:
            while self.engine.has_work:
                for event in self.engine.step():
                    yield event
        finally:
            self.engine.cancel(request.id)

    def cancel(self, request_id: str, index: int) -> None:
        self.engine.cancel(request_id, index)


@pytest.fixture
def source() -> DirectSource:
    engine, backend = make_engine()
    backend.fault = lambda run: engine._clock.advance(1_000_000)
    return DirectSource(engine)


@pytest.fixture
def client(source: DirectSource) -> AsgiClient:
    return client_of(source)


def client_of(source: DirectSource, **changes: object) -> AsgiClient:
    service = make_service(source, tokenizer=SmallTokenizer(), **changes)
    return AsgiClient(create_app(service, ServerSettings()))


def asked(path: str, compute: object = None, **fields: object) -> dict[str, object]:
    given = VOTES if compute is None else compute
    return {**BODIES[path], "seed": 3, "legato": {"compute": given}, **fields}


def text_of(path: str, document: dict) -> str:
    if path == "/v1/responses":
        return document["output"][0]["content"][0]["text"]
    choice = document["choices"][0]
    return choice["text"] if path == "/v1/completions" else choice["message"]["content"]


def texts_of_samples(path: str, count: int) -> Sequence[str]:
    client = client_of(DirectSource(make_engine()[0]))
    answer = client.post(path, {**BODIES[path], "seed": 3, "n": count})
    choices = answer.json()["choices"]
    return [c["text"] if path == "/v1/completions" else c["message"]["content"] for c in choices]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_the_answer_is_the_text_of_the_winner(client, path):
    document = client.post(path, asked(path)).json()
    report = document["legato"]["compute"]
    texts = texts_of_samples(path, 6)
    assert text_of(path, document) == texts[report["winner"]]
    assert len(document["choices"]) == 1
    assert sum(report["votes"].values()) == sum("A" in text or "B" in text for text in texts)
    assert report["answer"] == next(iter(report["votes"]))


@GENERATE
def test_the_report_adds_up(client, source, path):
    document = client.post(path, asked(path)).json()
    report = document["legato"]["compute"]
    assert report["samples_counted"] == report["samples_used"] == 6
    assert report["samples_saved"] == report["samples_pruned"] == 0
    usage = document["usage"]
    assert report["tokens"] == usage.get("completion_tokens", usage.get("output_tokens")) > 40
    assert report["machine_ms"] == source.engine._clock.now_ns() / 1e6
    assert 0.5 <= report["confidence"] <= 1
    assert source.engine.stats().used_blocks == 0


@GENERATE
def test_a_stream_is_the_winners_text(client, path):
    whole = client.post(path, asked(path)).json()
    events = client.post(path, asked(path, stream=True)).body.decode()
    assert '"samples_used": 6' in events.split("\n\n")[-2 if path == "/v1/responses" else -3]
    if path == "/v1/completions":
        chunks = client.post(path, asked(path, stream=True)).events()
        pieces = [chunk["choices"][0]["text"] for chunk in chunks[:-1]]
        assert "".join(pieces) == text_of(path, whole)


@GENERATE
def test_the_price_is_that_of_all_samples(source, path):
    client = client_of(source, price=MachinePrice(3600.0))
    extension = client.post(path, asked(path)).json()["legato"]
    assert extension["cost"]["machine_ms"] == extension["compute"]["machine_ms"]
    assert extension["cost"]["price"] == pytest.approx(extension["compute"]["machine_ms"] / 1000)


@GENERATE
def test_a_stop_string_ends_every_sample(client, path):
    document = client.post(path, asked(path, stop=["C"])).json()
    assert "C" not in text_of(path, document)
    assert document["legato"]["compute"]["tokens"] < 6 * 40


def test_log_probabilities_are_the_winners(client):
    path = "/v1/completions"
    document = client.post(path, asked(path, {"strategy": "best_of_n"}, logprobs=1)).json()
    logprobs = document["choices"][0]["logprobs"]["token_logprobs"]
    confidence = document["legato"]["compute"]["confidence"]
    assert document["choices"][0]["finish_reason"] == "length"  # no token that has no text
    assert math.log(confidence) == pytest.approx(sum(logprobs) / len(logprobs))


@GENERATE
def test_self_evaluation_asks_the_model(client, path):
    compute = {"strategy": "self_evaluation", "max_samples": 3, "confidence": 1.0}
    report = client.post(path, asked(path, compute)).json()["legato"]["compute"]
    assert report["samples_used"] == 3
    assert report["answer"] is None
    assert 0 <= report["confidence"] <= 1


@GENERATE
def test_a_budget_in_money_needs_a_price_and_holds(source, path):
    body = asked(path, {**VOTES, "budget_price": 0.01})
    refused = client_of(source).post(path, body)
    assert (refused.status, refused.error["param"]) == (400, "legato.compute.budget_price")
    assert source.requests == []
    client = client_of(source, price=MachinePrice(3600.0))
    document = client.post(path, body).json()
    assert document["legato"]["cost"]["price"] == pytest.approx(0.01)


WRONG = [
    ({"strategy": "guess"}, "strategy"),
    ({"strategy": 5}, "strategy"),
    ({**VOTES, "confidence": 0.5}, "confidence"),
    ({"answer": "text", "confidence": 1.5}, "confidence"),
    ({"answer": "text", "confidence": -1}, "confidence"),
    ({"strategy": "self_consistency"}, "answer"),
    ({"answer": "last word"}, "answer"),
    ({"answer": "regex:("}, "answer"),
    ({"answer": "text", "max_samples": 0}, "max_samples"),
    ({"answer": "text", "max_samples": 129}, "max_samples"),
    ({"answer": "text", "budget_tokens": 0}, "budget_tokens"),
    ({"answer": "text", "budget_ms": 0}, "budget_ms"),
    ({"answer": "text", "prune_margin": 1}, "prune_margin"),
    ({"strategy": "self_evaluation", "question": " "}, "question"),
    ({"answer": "text", "colour": "red"}, "colour"),
    (5, None),
]


@GENERATE
@pytest.mark.parametrize(("compute", "field"), WRONG, ids=str)
def test_wrong_settings_are_refused_before_anything_is_computed(
    client, source, path, compute, field
):
    answer = client.post(path, asked(path, compute))
    assert answer.status == 400
    assert answer.error["param"] == "legato.compute" + (f".{field}" if field else "")
    assert source.requests == []


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/chat/completions", {"n": 2}, "n"),
        ("/v1/completions", {"n": 2}, "n"),
        ("/v1/completions", {"prompt": ["a", "b"]}, "prompt"),
        ("/v1/completions", {"max_tokens": 0, "echo": True}, "max_tokens"),
    ],
)
def test_what_does_not_go_with_it_is_refused(client, source, path, fields, param):
    answer = client.post(path, asked(path, **fields))
    assert (answer.status, answer.error["param"]) == (400, param)
    assert source.requests == []


@GENERATE
def test_without_compute_there_is_no_report(client, path):
    document = client.post(path, BODIES[path]).json()
    assert "compute" not in document["legato"]
