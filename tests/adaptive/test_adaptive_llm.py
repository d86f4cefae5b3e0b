"""`LLM.solve` and `legato solve` on a tiny random model, and once on a real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from legato import LLM, SamplingParams, assemble
from legato.adaptive.settings import ComputeSettings
from legato.cli.main import app
from legato.config import EngineConfig
from legato.constrain.form import choice
from legato.errors import InvalidRequestError
from legato.models.model import Model
from legato.text.chat import chat_template_of
from legato.text.prompt import follow_up
from legato.text.source import GGUFVocabulary
from model.tiny import tiny_model
from text.tiny_tokenizers import byte_bpe_metadata

CONFIG = EngineConfig(backend="reference", kv_dtype="f32", num_kv_blocks=200, max_batch_tokens=32)
VOCABULARY = GGUFVocabulary(byte_bpe_metadata())
SAMPLED = SamplingParams(temperature=1.0, seed=4, max_tokens=6, ignore_eos=True)
VOTES = {"strategy": "adaptive_consistency", "max_samples": 8, "answer": "choice:AB"}
AB = choice(["A", "B"])
CHOSEN = SamplingParams(temperature=1.0, seed=4, max_tokens=6)


@pytest.fixture
def llm(monkeypatch: pytest.MonkeyPatch) -> Iterator[LLM]:
    size = len(VOCABULARY.metadata["tokenizer.ggml.tokens"])
    arch, weights = tiny_model({"vocab_size": size, "max_context": 256})
    model = Model("tiny", Path("tiny.gguf"), arch, weights, VOCABULARY)
    monkeypatch.setattr(assemble, "resolve_model", lambda path: path)
    monkeypatch.setattr(assemble, "load_model", lambda path: model)
    with LLM.from_config(Path("tiny.gguf"), CONFIG) as llm:
        yield llm


def test_the_winner_of_all_samples_is_the_one_that_chat_gives(llm):
    solution = llm.solve("Hello", {"strategy": "best_of_n", "max_samples": 4}, SAMPLED)
    drawn = SamplingParams(temperature=1.0, seed=4, max_tokens=6, ignore_eos=True, n=4, logprobs=0)
    outputs = llm.chat([{"role": "user", "content": "Hello"}], drawn).outputs
    means = [sum(e.chosen for e in output.logprobs) for output in outputs]
    assert solution.outcome.winner == means.index(max(means))
    assert solution.text == outputs[solution.outcome.winner].text
    assert solution.outcome.tokens == 4 * 6


def test_samples_of_a_prescribed_form_vote(llm):
    solution = llm.solve("A or B?", VOTES, CHOSEN, response_format=AB)
    assert solution.answer in ("A", "B")
    assert solution.text == solution.answer
    assert sum(solution.votes.values()) == solution.outcome.counted


def test_speculation_changes_nothing(llm, monkeypatch):
    plain = llm.solve("A or B?", VOTES, CHOSEN, response_format=AB)
    config = EngineConfig(
        backend="reference", kv_dtype="f32", num_kv_blocks=200, speculate="lookup,k=3"
    )
    with LLM.from_config(Path("tiny.gguf"), config) as speculating:
        other = speculating.solve("A or B?", VOTES, CHOSEN, response_format=AB)
    assert other.text == plain.text
    assert other.votes == plain.votes


def test_questions_share_samples(llm):
    questions = ["A or B?", "B or A?", [{"role": "user", "content": "one letter"}]]
    solutions = llm.solve_all(questions, VOTES, CHOSEN, total_samples=9, response_format=AB)
    assert len(solutions) == 3
    assert sum(solution.outcome.drawn for solution in solutions) <= 9
    assert llm.stats().used_blocks == 0


@pytest.mark.parametrize(
    ("strategy", "params", "param"),
    [
        ({"strategy": "guess"}, SAMPLED, "compute.strategy"),
        ({"answer": "text", "confidence": 2}, SAMPLED, "compute.confidence"),
        ({"answer": "text", "budget_price": 1}, SAMPLED, "compute.budget_price"),
        ({"answer": "text"}, SamplingParams(temperature=0), "temperature"),
        ({"answer": "text"}, SamplingParams(n=2), "n"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_computed(llm, strategy, params, param):
    with pytest.raises(InvalidRequestError) as caught:
        llm.solve("Hello", strategy, params)
    assert caught.value.param == param
    assert llm.stats().steps == 0


def test_settings_can_be_given_as_an_object(llm):
    settings = ComputeSettings(strategy="self_evaluation", max_samples=2, confidence=1.0)
    assert llm.solve("Hello", settings, SAMPLED).outcome.drawn == 2


def test_the_self_evaluation_is_the_probability_of_the_reply(llm):
    """The model's own, of the first token of the reply, after the sample and the question."""
    settings = ComputeSettings(strategy="self_evaluation", max_samples=1, reply="no")
    solution = llm.solve("Hello", settings, SAMPLED)
    ids = (
        *solution.result.prompt_token_ids,
        *solution.result.outputs[0].token_ids,
        *follow_up(llm.tokenizer, chat_template_of(llm.tokenizer), settings.question),
    )
    logits = llm.logits(ids)[-1].astype(np.float64)
    (reply, *_) = llm.tokenizer.encode("no", add_special_tokens=False)
    probability = np.exp(logits[reply] - logits.max()) / np.exp(logits - logits.max()).sum()
    assert solution.outcome.confidence == pytest.approx(probability, rel=1e-4)


def test_a_price_bounds_the_machine_time(llm):
    settings = {"answer": "text", "budget_price": 1e-12}
    solution = llm.solve("Hello", settings, SAMPLED, price_per_hour=1.0)
    assert solution.outcome.drawn <= 4


def run_solve(*arguments: str) -> str:
    options = ("--model", "tiny.gguf", "--backend", "reference", "--kv-dtype", "f32")
    result = CliRunner().invoke(app, ["solve", "A or B?", *options, *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def tiny_cli(llm, monkeypatch):
    monkeypatch.setattr("legato.cli.progress.resolve_with_progress", Path)


ARGUMENTS = ("--answer", "text", "--max-samples", "3", "--max-tokens", "5", "--seed", "1")


def test_the_command_shows_answer_votes_and_what_it_took(tiny_cli):
    output = run_solve(*ARGUMENTS)
    assert "Votes" in output
    assert "3 samples (0 saved" in output


def test_the_command_gives_json(tiny_cli):
    document = json.loads(run_solve(*ARGUMENTS, "--json"))
    assert document["drawn"] == 3
    assert document["text"]


@pytest.mark.real_model
def test_an_easy_question_takes_fewer_samples(smollm2_path):
    strategy = {"strategy": "adaptive_consistency", "answer": "choice:AB"}
    params = SamplingParams(temperature=0.7, seed=1, max_tokens=8)
    with LLM(smollm2_path) as llm:
        question = "Reply with one letter. The sky on a clear day is (A) blue (B) green."
        solution = llm.solve(question, strategy, params, response_format=AB)
    assert solution.answer in ("A", "B")
    assert solution.outcome.drawn < 16
