"""The same bad values in process: `Engine.check`, which `LLM` and the server both ask."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest

from cases.bodies import BAD_PROMPTS, COMPLETIONS, OWN, SAMPLING
from legato.core import Request, SamplingParams
from legato.errors import InvalidRequestError
from null.fake_backend import alone, finish_all, make_engine, make_request, summary

PARAMS = {field.name for field in fields(SamplingParams)}
TABLE = {
    **{field: values for field, (_, values) in SAMPLING.items() if field in PARAMS},
    **{
        field: values
        for (path, field), (_, values) in OWN.items()
        if path == COMPLETIONS and field in PARAMS
    },
}
VALUES = [(field, value) for field, values in TABLE.items() for value in values]


def offline(field: str, value: str) -> Any:
    """The value as a caller in Python would give it."""
    given = json.loads(value)
    if field == "logit_bias" and isinstance(given, dict):
        return {int(k) if k.lstrip("-").isdigit() else k: bias for k, bias in given.items()}
    return tuple(given) if isinstance(given, list) else given


def test_the_table_covers_all_numbers_of_a_request():
    assert {"n", "max_tokens", "min_tokens", "temperature", "top_p", "top_k", "seed"} <= set(TABLE)
    assert {"logprobs", "stop", "stop_token_ids", "logit_bias", "min_p"} <= set(TABLE)


@pytest.mark.parametrize(("field", "value"), VALUES, ids=lambda v: str(v)[:30])
def test_a_bad_value_is_refused_by_name_and_the_engine_goes_on(field, value):
    engine, _ = make_engine()
    fields = {"max_tokens": 4} | {field: offline(field, value)}
    request = make_request("bad", **fields)
    for refuse in (engine.check, engine.add):
        with pytest.raises(InvalidRequestError) as refusal:
            refuse(request)
        assert refusal.value.param == field
    good = make_request("good")
    assert summary(finish_all(engine, good)["good", 0]) == summary(alone(good)["good", 0])
    assert engine.stats().used_blocks == 0


@pytest.mark.parametrize("prompt", [p for p in BAD_PROMPTS if p.startswith("[") and '"' not in p])
def test_a_bad_prompt_is_refused_by_name(prompt):
    engine, _ = make_engine()
    ids = tuple(json.loads(prompt))
    with pytest.raises(InvalidRequestError) as refusal:
        engine.check(Request(id="bad", prompt=ids, params=SamplingParams(max_tokens=4)))
    assert refusal.value.param == "prompt"


@pytest.mark.parametrize(
    ("field", "value"),
    [("priority", 2**63), ("priority", 1.5), ("cache_salt", 5), ("cache_salt", "\ud800"),
     ("cache_salt", "x" * 1_000_000), ("draft_tokens", -1), ("draft_tokens", 2**31)],
    ids=lambda v: str(v)[:20],
)  # fmt: skip
def test_a_bad_member_of_a_request_is_refused_by_name(field, value):
    engine, _ = make_engine()
    params = SamplingParams(max_tokens=4)
    with pytest.raises(InvalidRequestError) as refusal:
        engine.check(Request(id="bad", prompt=(1,), params=params, **{field: value}))
    assert refusal.value.param == field
