import asyncio
import base64

import numpy as np
import pytest
from asgi_client import AsgiClient
from fake_source import make_service

from legato.errors import InvalidRequestError, OverloadedError
from legato.metrics.price import MachinePrice
from legato.server.app import create_app
from legato.server.other_answers import Embeddings
from legato.server.settings import ServerSettings
from legato.server.text_scores import pooled, token_logprobs

PATH = "/v1/embeddings"


def test_every_input_gives_one_vector_in_order(client, source):
    answer = client.post(PATH, {"model": "tiny", "input": ["a", "bc"], "user": "u"})
    document = Embeddings.model_validate(answer.json())
    assert [entry.index for entry in document.data] == [0, 1]
    assert source.computed == [(257, 97), (257, 98, 99)]
    assert document.usage.prompt_tokens == document.usage.total_tokens == 5
    assert "legato_prompt_tokens_total 5.0" in client.get("/metrics").body.decode()


def test_vectors_tell_their_price_where_the_machine_has_one(client, source):
    assert "legato" not in client.post(PATH, {"input": "a"}).json()
    service = make_service(source, price=MachinePrice(1800.0))
    priced = AsgiClient(create_app(service, ServerSettings()))
    cost = Embeddings.model_validate(priced.post(PATH, {"input": ["a", "b"]}).json()).legato.cost
    assert (cost.machine_ms, cost.price) == (4.0, 0.002)
    echo = {"prompt": "ab", "echo": True, "logprobs": 1, "max_tokens": 0}
    document = priced.post("/v1/completions", echo).json()
    assert document["legato"]["cost"]["machine_ms"] == 2.0


@pytest.mark.parametrize("given", ["a", [97], [[97]], ["a"]])
def test_text_and_token_ids_are_taken(client, given):
    assert len(client.post(PATH, {"input": given}).json()["data"]) == 1


def test_base64_is_the_same_vector(client):
    plain = client.post(PATH, {"input": "ab"}).json()["data"][0]["embedding"]
    coded = client.post(PATH, {"input": "ab", "encoding_format": "base64"}).json()["data"][0]
    vector = np.frombuffer(base64.b64decode(coded["embedding"]), "<f4")
    assert vector.tolist() == pytest.approx(plain)


def test_pooling_is_the_callers_choice(client):
    mean, last = (
        client.post(PATH, {"input": "ab", "pooling": pooling}).json()["data"][0]["embedding"]
        for pooling in ("mean", "last")
    )
    assert mean != last


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        *(({"input": value}, "input") for value in (
            None, "", [], [""], [[]], [258], [-1], [True], [1.5], ["a", [1]], 5, ["a"] * 2049,
            "x" * 256, [65] * 257, [[65] * 257],
        )),
        ({"dimensions": 3}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"pooling": "cls"}, "pooling"),
        ({"user": 5}, "user"),
        ({"temperature": 1}, "temperature"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(client, source, extra, param):
    answer = client.post(PATH, {"input": "a", **extra})
    assert (answer.status, answer.error["param"]) == (400, param), answer.body
    assert source.computed == []


def test_an_input_may_fill_the_context(client):
    assert client.post(PATH, {"input": [65] * 256}).status == 200


@pytest.mark.parametrize(
    ("refusal", "status", "param"),
    [
        (OverloadedError("full", 1), 503, None),
        (InvalidRequestError("too long", "token_ids", "context_length_exceeded"), 400, "input"),
    ],
)
def test_refusals_of_the_engine_reach_the_caller(client, source, refusal, status, param):
    source.refusal = refusal
    answer = client.post(PATH, {"input": "a"})
    assert (answer.status, answer.error["param"]) == (status, param)


def test_a_client_that_goes_away_computes_nothing_more(client, source):
    async def scenario():
        reached = asyncio.Event()

        async def hang(number):
            reached.set()
            await asyncio.Event().wait()

        source.before = hang
        call = client.start_post(PATH, {"input": ["a", "b"]})
        running = asyncio.create_task(call.run())
        await reached.wait()
        call.gone.set()
        await running

    asyncio.run(scenario())
    assert source.computed == [(257, 97)]


def rows(count, width=5):
    return np.random.default_rng(3).standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("cuts", [[], [1], [3, 4, 9], [5]])
def test_pooling_does_not_depend_on_chunks_to_the_bit(cuts):
    states = rows(10)
    (*_, mean) = pooled(iter(np.split(states, cuts)), "mean")
    (*_, whole) = pooled(iter([states]), "mean")
    (*_, last) = pooled(iter(np.split(states, cuts)), "last")
    assert (mean == whole).all()
    expected = states.mean(axis=0)
    np.testing.assert_allclose(mean, expected / np.linalg.norm(expected), rtol=1e-6)
    np.testing.assert_allclose(last, states[-1] / np.linalg.norm(states[-1]), rtol=1e-6)


def test_a_state_of_zeros_stays_zero():
    (vector,) = pooled(iter([np.zeros((2, 3), np.float32)]), "mean")
    assert vector.tolist() == [0, 0, 0]


@pytest.mark.parametrize("cuts", [[], [1, 2], [3]])
def test_logprobs_are_those_of_the_next_token(cuts):
    logits, ids = rows(4), (0, 3, 1, 4)
    pieces = token_logprobs(iter(np.split(logits, cuts)), ids, 2)
    entries = [entry for piece in pieces for entry in piece]
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert [e.chosen for e in entries] == pytest.approx([expected[i, ids[i + 1]] for i in range(3)])
    for row, entry in zip(expected, entries, strict=False):
        assert [token for token, _ in entry.top] == np.argsort(-row)[:2].tolist()
