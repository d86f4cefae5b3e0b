"""A model writes to itself: questions as a user would ask them, and its answers."""

from __future__ import annotations

import pytest

from legato.core import SamplingParams
from legato.llm import LLM
from legato.own_texts import write_texts
from legato.speculative.ngrams import ORDER, count_ngrams

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def llm(smollm2_path):
    with LLM(smollm2_path, num_kv_blocks=64) as llm:
        yield llm


@pytest.fixture(scope="module")
def texts(llm):
    return write_texts(llm, 200, together=3, before=ORDER)


def test_texts_are_answers_and_the_same_each_time(llm, texts):
    assert sum(map(len, texts)) >= 200
    assert all(len(text) > 10 for text in texts)
    assert len(set(texts)) == len(texts)
    shares: list[float] = []
    assert write_texts(llm, 200, together=3, before=ORDER, report=shares.append) == texts
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_answers_can_stand_alone(llm, texts):
    alone = write_texts(llm, 100, together=3, before=0)
    assert alone == [text[ORDER:] for text in texts[: len(alone)]]


def test_what_was_counted_in_them_is_mostly_how_they_go_on(texts):
    table, text = count_ngrams(texts), texts[-1]
    found = [table.follower(text[:place]) for place in range(ORDER, len(text))]
    right = [f is not None and f.token == t for f, t in zip(found, text[ORDER:], strict=True)]
    assert sum(right) > 0.6 * len(right)


def test_a_learnt_table_changes_no_token(smollm2_path, llm, texts, monkeypatch):
    monkeypatch.setattr("legato.assemble.known_followers", lambda model: count_ngrams(texts))
    params = SamplingParams(temperature=0.0, max_tokens=40)
    question = [{"role": "user", "content": "How does a bicycle stay upright?"}]
    plain = llm.generate([llm.encode_chat(question)], params)
    with LLM(smollm2_path, num_kv_blocks=64, speculate="recall") as drafting:
        drafted = drafting.generate([drafting.encode_chat(question)], params)
        assert drafting.stats().speculation.drafted > 0
    assert drafted[0].outputs[0].token_ids == plain[0].outputs[0].token_ids
