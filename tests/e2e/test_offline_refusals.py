"""`LLM` on a real model refuses what the server refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from legato import LLM, SamplingParams
from legato.errors import InvalidRequestError

pytestmark = pytest.mark.real_model

OFFLINE = {
    **{"n": [0, -1, 2**31], "max_tokens": [0, -1, 2**63, 1.5, "10", True], "min_tokens": [3, -1]},
    **{"temperature": [float("nan"), float("inf"), -1, 1e308, "hot"], "top_p": [0, 1.1]},
    **{"min_p": [-0.1, 2], "top_k": [-1, 2**31], "presence_penalty": [-2.1, float("nan")]},
    **{"frequency_penalty": [2.1], "repetition_penalty": [0, -1, 1e-40, float("inf")]},
    **{"logit_bias": [{49152: 1}, {-1: 1}, {"AI": 1}, {1: 1e9}, []], "seed": [-1, 2**64, "x"]},
    **{"stop_token_ids": [(49152,), (-1,), "x"], "logprobs": [21, -1]},
    **{"stop": [("",), "x", ("a",) * 5, ("\ud800",)]},
}


@pytest.fixture(scope="module")
def llm(smollm2_path: Path) -> Iterator[LLM]:
    with LLM(smollm2_path) as llm:
        yield llm


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in OFFLINE.items() for value in values]
)
def test_offline_use_refuses_the_same(llm, field, value):
    params = SamplingParams(**{"max_tokens": 2, field: value})
    with pytest.raises(InvalidRequestError) as refusal:
        llm.generate("Hello", params)
    assert refusal.value.param == field
