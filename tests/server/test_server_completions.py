import pytest
from asgi_client import AsgiClient
from fake_source import BOS, make_service

from legato.clock import VirtualClock
from legato.server.answer_models import Completion
from legato.server.app import create_app
from legato.server.settings import ServerSettings

PATH = "/v1/completions"


def body(**fields):
    return {"model": "tiny", "prompt": "ab", **fields}


def stream_text(events, index=0):
    choices = [choice for event in events[:-1] for choice in event["choices"]]
    return "".join(c["text"] for c in choices if c["index"] == index)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("ab", [(BOS, 97, 98)]),
        (["a", "b"], [(BOS, 97), (BOS, 98)]),
        ([97, 98], [(97, 98)]),
        ([[97], [98, 99]], [(97,), (98, 99)]),
    ],
)
def test_every_form_of_prompt_is_read(client, source, prompt, expected):
    answer = client.post(PATH, body(prompt=prompt))
    assert answer.status == 200
    Completion.model_validate(answer.json())
    assert [request.prompt for request in source.requests] == expected
    assert [choice["text"] for choice in answer.json()["choices"]] == ["Hello, world"] * len(
        expected
    )


def test_choices_of_several_prompts_are_numbered_prompt_by_prompt(client):
    answer = client.post(PATH, body(prompt=["a", "b"], n=2, echo=True)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [choice["text"][0] for choice in answer["choices"]] == ["a", "a", "b", "b"]
    assert answer["usage"]["prompt_tokens"] == 4
    events = client.post(PATH, body(prompt=["a", "b"], n=2, echo=True, stream=True)).events()
    assert [stream_text(events, i)[0] for i in range(4)] == ["a", "a", "b", "b"]


@pytest.mark.parametrize("stream", [False, True])
def test_echo_without_generation_gives_the_prompt_back(client, source, stream):
    answer = client.post(PATH, body(prompt=[104, 105], max_tokens=0, echo=True, stream=stream))
    document = answer.events()[0] if stream else answer.json()
    assert document["choices"][0]["text"] == "hi"
    assert document["choices"][0]["finish_reason"] == "length"
    assert source.requests == []


def test_sixteen_tokens_unless_told_otherwise(client, source):
    source.reply = "x" * 40
    assert len(client.post(PATH, body()).json()["choices"][0]["text"]) == 16


def test_logprobs_have_offsets_into_the_text(client, source):
    source.reply = "aé🎵b"
    choice = client.post(PATH, body(logprobs=2)).json()["choices"][0]
    logprobs = choice["logprobs"]
    assert choice["text"] == "aé🎵b"
    assert logprobs["text_offset"] == [0, 1, 1, 2, 2, 2, 2, 3]
    assert logprobs["token_logprobs"] == [-0.25] * 8
    assert logprobs["top_logprobs"][0] == {"a": -0.25, "@": -65.0}
    assert choice["text"][logprobs["text_offset"][-1]] == logprobs["tokens"][-1] == "b"


def test_a_stream_has_the_same_text_and_ends_with_done(client):
    events = client.post(PATH, body(stream=True)).events()
    for event in events[:-1]:
        Completion.model_validate(event)
    assert stream_text(events) == "Hello, world"
    assert events[-2]["choices"][0]["finish_reason"] == "stop"
    assert "timing" in events[-2]["legato"]
    assert events[-1] == "[DONE]"


def test_one_failing_prompt_ends_the_others(client, source):
    class RefusalError(Exception):
        pass

    async def fail_late(number):
        if number == 3:
            raise RefusalError("secret detail")

    source.before = fail_late
    answer = client.post(PATH, body(prompt=["a", "b", "c"]))
    assert answer.status == 500
    assert "secret" not in answer.body.decode()
    assert len(source.cancelled) == 3


@pytest.mark.parametrize(("started_ns", "queue_ms"), [(None, None), (2_000_000, 2.0)])
def test_the_answer_tells_how_long_it_waited(source, started_ns, queue_ms):
    service = make_service(source, clock=VirtualClock())
    source.started_ns = started_ns
    answer = AsgiClient(create_app(service, ServerSettings())).post(PATH, {"prompt": "x"})
    assert answer.json()["legato"]["timing"]["queue_ms"] == queue_ms


def test_echo_with_logprobs_scores_the_prompt(client):
    body = {"prompt": "ab", "echo": True, "logprobs": 2, "max_tokens": 2}
    choice = client.post(PATH, body).json()["choices"][0]
    assert choice["text"] == "abHe"
    logprobs = choice["logprobs"]
    assert logprobs["tokens"] == ["<bos>", "a", "b", "H", "e"]
    assert logprobs["text_offset"] == [0, 0, 1, 2, 3]
    assert logprobs["token_logprobs"] == [None, -0.25, -0.25, -0.25, -0.25]
    assert logprobs["top_logprobs"][0] is None
    assert all(len(top) >= 2 for top in logprobs["top_logprobs"][1:])


def test_a_stream_with_echo_and_logprobs_says_the_same(client):
    body = {"prompt": ["ab", "é"], "echo": True, "logprobs": 0, "max_tokens": 3, "n": 2}
    whole = client.post(PATH, body).json()["choices"]
    events = client.post(PATH, {**body, "stream": True}).events()[:-1]
    for choice in whole:
        parts = [c for e in events for c in e["choices"] if c["index"] == choice["index"]]
        assert "".join(part["text"] for part in parts) == choice["text"]
        for key, values in choice["logprobs"].items():
            assert [v for part in parts for v in part["logprobs"][key]] == values


def test_a_prompt_can_be_scored_without_an_answer(client, source):
    body = {"prompt": [[65, 66, 67]], "echo": True, "logprobs": 1, "max_tokens": 0}
    choice = client.post(PATH, body).json()["choices"][0]
    assert choice["text"] == "ABC"
    assert len(choice["logprobs"]["tokens"]) == 3
    assert source.requests == []


def test_offsets_of_an_echo_of_split_characters_are_those_of_the_characters(client):
    body = {"prompt": list("é!".encode()), "echo": True, "logprobs": 0, "max_tokens": 0}
    choice = client.post(PATH, body).json()["choices"][0]
    assert choice["text"] == "é!"
    assert choice["logprobs"]["text_offset"] == [0, 0, 1]
