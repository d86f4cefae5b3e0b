from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from legato.core import Objectives, Request, SamplingParams
from legato.errors import InvalidRequestError
from legato.validate import check_params, check_request

VOCAB = 100
NAN, INF = float("nan"), float("inf")

BAD = {
    "n": [0, -1, 129, 2**31, 10**18, 1.0, "1", True, None],
    "max_tokens": [0, -1, 2**31, 2**63, INF, 1.5, "10", True],
    "min_tokens": [-1, 2**63, 1.5, None, True],
    "temperature": [NAN, INF, -INF, -1, 1e308, "hot", None, True, 10**400],
    "top_k": [-1, -2, 2**31, 1.0, None],
    "top_p": [0, -0.1, 1.1, NAN, INF, "x"],
    "min_p": [-0.1, 1.1, NAN],
    "presence_penalty": [-2.1, 2.1, NAN, None],
    "frequency_penalty": [-2.1, 2.1, NAN],
    "repetition_penalty": [0, -1, 1e-40, INF, NAN, 11],
    "logit_bias": [
        *({VOCAB: 1}, {-1: 1}, {2**31: 1}, {"AI": 1}, {1: 1e9}, {1: NAN}, [1], None),
        dict.fromkeys(range(2000), 1.0),
    ],
    "seed": [-1, 2**64, "x", 1.0, True],
    "stop_token_ids": [(VOCAB,), (-1,), (1.0,), tuple([1] * 65), 5],
    "ignore_eos": [1, "true", None],
    "stop": [("",), ("", "x"), "x", ("a",) * 5, ("x" * 2000,), (1,), ("\ud800",)],
    "logprobs": [-1, 21, 10**9, 1.0, True],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in BAD.items() for value in values]
)
def test_a_bad_field_is_named(field, value):
    with pytest.raises(InvalidRequestError) as caught:
        check_params(replace(SamplingParams(), **{field: value}), VOCAB)
    assert caught.value.param == field
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(),
        SamplingParams(temperature=0, top_k=VOCAB + 1, top_p=1, min_p=1, n=128),
        SamplingParams(seed=2**64 - 1, max_tokens=1, min_tokens=1, logprobs=20),
        SamplingParams(logit_bias={0: -100, VOCAB - 1: 100.0}, stop=("a",) * 4),
        SamplingParams(seed=np.uint64(3), temperature=np.float32(0.5), max_tokens=np.int64(3)),
    ],
)
def test_the_whole_range_is_allowed(params):
    check_params(params, VOCAB)


def test_min_tokens_above_max_tokens_is_refused():
    with pytest.raises(InvalidRequestError) as caught:
        check_params(SamplingParams(max_tokens=3, min_tokens=4), VOCAB)
    assert caught.value.param == "min_tokens"


def test_a_small_vocabulary_bounds_the_alternatives():
    with pytest.raises(InvalidRequestError):
        check_params(SamplingParams(logprobs=6), 5)


@pytest.mark.parametrize(
    "prompt", [(), (-1,), (VOCAB,), (2**63,), (1.0,), (True,), ("a",), ((1,),), (1, None)]
)
def test_a_bad_prompt_is_refused(prompt):
    with pytest.raises(InvalidRequestError) as caught:
        check_request(Request(id="a", prompt=prompt, params=SamplingParams()), VOCAB)
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("priority", 1.5), ("priority", 2**40)),
        *(("cache_salt", 1), ("cache_salt", "x" * 300), ("cache_salt", "\ud800")),
    ],
)
def test_the_rest_of_a_request_is_checked(field, value):
    request = Request(id="a", prompt=(1,), params=SamplingParams())
    with pytest.raises(InvalidRequestError) as caught:
        check_request(replace(request, **{field: value}), VOCAB)
    assert caught.value.param == field


@pytest.mark.parametrize("value", [0, -1, 1.5, True, 2**60, "1"])
@pytest.mark.parametrize("field", ["ttft_ns", "tbt_ns"])
def test_objectives_are_positive_nanoseconds_up_to_a_day(field, value):
    request = Request(
        id="a", prompt=(1,), params=SamplingParams(), objectives=Objectives(**{field: value})
    )
    with pytest.raises(InvalidRequestError) as caught:
        check_request(request, VOCAB)
    assert caught.value.param == field
