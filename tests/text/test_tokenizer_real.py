from __future__ import annotations

from typing import Any

import pytest
from tiny_tokenizers import golden

from legato.models.load import load_model
from legato.models.model import Model
from legato.text.chat import chat_template_of
from legato.text.tokenizer import Tokenizer, load_tokenizer

pytestmark = pytest.mark.real_model


def loaded(path) -> Tokenizer:
    model: Model = load_model(path)
    return load_tokenizer(model.tokenizer)


@pytest.fixture(scope="module", params=["smollm2", "gemma"])
def real(request: pytest.FixtureRequest) -> tuple[Tokenizer, dict[str, Any]]:
    return loaded(request.getfixturevalue(f"{request.param}_path")), golden(request.param)


def test_ids_of_real_models_equal_those_of_transformers(real):
    tokenizer, expected = real
    for text, ids in expected["ids"].items():
        assert tokenizer.encode(text) == ids, repr(text)
    for text, ids in expected["untrusted_ids"].items():
        encoded = tokenizer.encode(text, add_special_tokens=False, parse_special=False)
        assert encoded == ids, repr(text)


def test_prompts_of_real_models_equal_those_of_transformers(real):
    tokenizer, expected = real
    template = chat_template_of(tokenizer)
    for chat in expected.get("chats", []):
        prompt = template.render(
            chat["messages"], add_generation_prompt=chat["add_generation_prompt"]
        )
        assert prompt == chat["prompt"]


def test_end_of_turn_tokens_of_real_models(real):
    tokenizer, _ = real
    texts = {tokenizer.token_text(i) for i in tokenizer.eos_ids}
    assert texts in ({"<|im_end|>", "<|endoftext|>"}, {"<end_of_turn>", "<eos>"})
