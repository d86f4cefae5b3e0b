import pytest

from legato.server.other_answers import Detokenized, Tokenized

TOKENIZE, DETOKENIZE = "/tokenize", "/detokenize"


def test_a_text_becomes_token_ids(client):
    answer = client.post(TOKENIZE, {"model": "tiny", "prompt": "hi"})
    Tokenized.model_validate(answer.json())
    assert answer.json() == {
        "tokens": [257, 104, 105],
        "count": 3,
        "max_model_len": 256,
        "token_strs": None,
    }


def test_special_tokens_and_texts_are_options(client):
    body = {"prompt": "hi", "add_special_tokens": False, "return_token_strs": True}
    answer = client.post(TOKENIZE, body).json()
    assert (answer["tokens"], answer["token_strs"]) == ([104, 105], ["h", "i"])


def test_a_conversation_goes_through_the_template(client, source):
    messages = [{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}]
    tokens = client.post(TOKENIZE, {"messages": messages}).json()["tokens"]
    client.post("/v1/chat/completions", {"messages": messages})
    assert tuple(tokens) == source.requests[0].prompt


def test_an_empty_text_has_the_special_tokens_alone(client):
    assert client.post(TOKENIZE, {"prompt": ""}).json()["tokens"] == [257]


def test_a_text_longer_than_the_context_is_counted(client):
    assert client.post(TOKENIZE, {"prompt": "x" * 1000}).json()["count"] == 1001


def test_token_ids_become_text_with_control_tokens(client):
    answer = client.post(DETOKENIZE, {"tokens": [257, 104, 105, 256]})
    Detokenized.model_validate(answer.json())
    assert answer.json() == {"prompt": "<bos>hi<eos>"}
    assert client.post(DETOKENIZE, {"tokens": []}).json() == {"prompt": ""}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (TOKENIZE, {}, "prompt"),
        (TOKENIZE, {"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "prompt"),
        (TOKENIZE, {"prompt": 5}, "prompt"),
        (TOKENIZE, {"prompt": "x" * 1_000_001}, "prompt"),
        (TOKENIZE, {"prompt": "a", "add_generation_prompt": False}, "add_generation_prompt"),
        (TOKENIZE, {"prompt": "a", "add_special_tokens": 1}, "add_special_tokens"),
        (TOKENIZE, {"prompt": "a", "chat_template": "x"}, "chat_template"),
        (TOKENIZE, {"messages": []}, "messages"),
        (TOKENIZE, {"messages": [{"role": "x", "content": "a"}]}, "messages[0].role"),
        (TOKENIZE, {"messages": [{"role": "user", "content": "template fault"}]}, "messages"),
        (TOKENIZE, {"messages": [{"role": "user", "content": "a"}], "add_special_tokens": True},
         "add_special_tokens"),
        (DETOKENIZE, {}, "tokens"),
        (DETOKENIZE, {"tokens": [258]}, "tokens"),
        (DETOKENIZE, {"tokens": [-1]}, "tokens"),
        (DETOKENIZE, {"tokens": [True]}, "tokens"),
        (DETOKENIZE, {"tokens": [1.5]}, "tokens"),
        (DETOKENIZE, {"tokens": "hi"}, "tokens"),
        (DETOKENIZE, {"tokens": [[1]]}, "tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused_by_name(client, path, body, param):
    answer = client.post(path, body)
    assert (answer.status, answer.error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("path", "body"), [(TOKENIZE, {"prompt": "a"}), (DETOKENIZE, {"tokens": []})]
)
def test_a_model_that_is_not_served_is_404(client, path, body):
    assert client.post(path, {**body, "model": "x"}).status == 404
