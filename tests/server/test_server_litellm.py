"""litellm as a second client. It is no development dependency: its import takes seconds, it pins an
older openai package than the one tested here, and it asks the network for prices. Where it is
installed, these tests run.
"""

import os

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
litellm = pytest.importorskip("litellm", reason="litellm is installed separately; see the module")
pytestmark = pytest.mark.filterwarnings("ignore")

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture
def options(live):
    return {"model": "openai/tiny", "api_base": f"{live.url}/v1", "api_key": "none"}


def test_a_chat_is_answered_with_usage(options):
    answer = litellm.completion(messages=MESSAGES, temperature=0.5, **options)
    assert answer.choices[0].message.content == "Hello, world"
    assert answer.usage.completion_tokens == 13


def test_the_chunks_of_a_chat_are_its_answer(options):
    chunks = litellm.completion(messages=MESSAGES, stream=True, **options)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "Hello, world"


def test_each_text_has_its_embedding(options):
    answer = litellm.embedding(input=["a", "b"], encoding_format="float", **options)
    assert len(answer.data) == 2


def test_errors_become_the_clients_exceptions(options):
    with pytest.raises(litellm.BadRequestError):
        litellm.completion(messages=MESSAGES, temperature=9, num_retries=0, **options)
