"""`legato bench adaptive` on a tiny random model: what runs through the engine, and the command."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from legato import assemble
from legato.adaptive.settings import ComputeSettings
from legato.bench.adaptive import run
from legato.bench.adaptive.asking import Asker
from legato.bench.adaptive.document import Plan
from legato.bench.adaptive.figures import calibrations, predicted_time, strategy_figures
from legato.bench.adaptive.question_files import parse_sets
from legato.bench.adaptive.questions import QuestionSet
from legato.bench.adaptive.replay import contenders, decide, decide_all
from legato.bench.adaptive.run import LIVE, compare_strategies, select_questions
from legato.cli.bench.adaptive import interruptible
from legato.cli.main import app
from legato.clock import RealClock
from legato.config import EngineConfig
from legato.errors import LegatoError
from legato.models.model import Model
from legato.text.source import GGUFVocabulary
from model.tiny import tiny_model
from text.tiny_tokenizers import byte_bpe_metadata

CONFIG = EngineConfig(backend="reference", kv_dtype="f32", num_kv_blocks=200, max_batch_tokens=64)
VOCABULARY = GGUFVocabulary(byte_bpe_metadata())
LETTERS = {"set": "letters", "rule": "choice:AB", "choices": ["A", "B"], "max_tokens": 3}
SPACED = {"set": "spaced", "rule": "text", "choices": [" x", " y", " z"], "max_tokens": 3}
SETTINGS = [
    {"strategy": "self_consistency"},
    {"strategy": "adaptive_consistency", "confidence": 0.9},
    {"strategy": "early_stopping", "window": 3},
    {"strategy": "best_of_n"},
    {"strategy": "confidence", "confidence": 0.4},
    {"strategy": "self_evaluation", "confidence": 0.001},
]


def sets_text() -> str:
    questions = [{"question": f"Letter {i}?", "answer": "AB"[i % 2]} for i in range(5)]
    more = [{"question": f"Word {i}?", "answer": "xyz"[i % 3]} for i in range(4)]
    return "\n".join(json.dumps(line) for line in (LETTERS, *questions, SPACED, *more))


@pytest.fixture
def sets() -> list[QuestionSet]:
    return parse_sets(sets_text(), "test")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Path:
    size = len(VOCABULARY.metadata["tokenizer.ggml.tokens"])
    arch, weights = tiny_model({"vocab_size": size, "max_context": 256})
    model = Model("tiny", Path("tiny.gguf"), arch, weights, VOCABULARY)
    monkeypatch.setattr(assemble, "resolve_model", lambda path: path)
    monkeypatch.setattr(assemble, "load_model", lambda path: model)
    monkeypatch.setattr("legato.models.hub.resolve_model", lambda name, bar: Path(name))
    return model.path


@pytest.fixture
def parts(model: Path) -> Iterator[assemble.Assembled]:
    parts = assemble.assemble(model, CONFIG, RealClock())
    yield parts
    parts.engine.close()


@pytest.fixture
def asker(parts: assemble.Assembled) -> Asker:
    return Asker(parts, RealClock(), temperature=1.0, seed=3)


def names(entries: list[dict[str, object]]) -> list[object]:
    return [entry["name"] for entry in entries]


def nothing(*_: object) -> None:
    pass


def test_questions_of_all_sets_come_in_turn(sets):
    asked = select_questions(sets, 4)
    assert [each.set.set for each in asked] == ["letters", "spaced"] * 2
    assert len(select_questions(sets, None)) == 9
    assert len({each.question.question for each in select_questions(sets, None)}) == 9


@pytest.mark.parametrize("fields", SETTINGS, ids=lambda fields: fields["strategy"])
def test_a_replay_is_what_the_engine_decides(asker, sets, fields):
    asked = select_questions(sets, None)
    evaluates = fields["strategy"] == "self_evaluation"
    answered, _ = asker.draw(asked, 8, self_evaluation=evaluates, on_done=nothing)
    settings = ComputeSettings(max_samples=8, answer="text", **fields)
    live = asker.ask(asked, settings, nothing)
    assert len(live.outcomes) == len(answered) == 9
    for number, each in enumerate(answered):
        outcome, decided = live.outcomes[number], decide(settings.make_strategy(), each)
        assert (outcome.answer, outcome.counted) == (decided.answer, decided.samples)
        assert outcome.confidence == decided.confidence


def test_the_document_says_that_live_runs_decided_as_replayed(asker, sets):
    asked = select_questions(sets, 6)
    plan = Plan(max_samples=8, price_per_hour=2.0)
    totals: list[int] = []
    document = compare_strategies(asker, asked, plan, totals.append, nothing)
    assert totals == [6 * 4]
    assert names(document["live"]) == ["single sample", LIVE, "best of 8, pruned"]
    assert [live["as_replayed"] for live in document["live"]] == [6, 6, None]
    measured = {f["name"]: f["seconds"]["measured"] for f in document["strategies"]}
    assert [name for name, is_measured in measured.items() if is_measured] == [
        "self-consistency, 8",
        "single sample",
        LIVE,
        "best of 8, pruned",
    ]
    assert document["strategies"][0]["difference"]["value"] == 0
    assert document["strategies"][0]["saving"]["value"] == 1
    assert document["strategies"][0]["cost"] > 0
    assert [point["samples"] for point in document["even"]] == list(range(1, 9))


def test_with_self_evaluation_the_baseline_is_timed_by_a_run_of_its_own(asker, sets):
    plan = Plan(max_samples=4, self_evaluation=True)
    asked = select_questions(sets, 3)
    document = compare_strategies(asker, asked, plan, nothing, nothing)
    assert names(document["live"])[0] == "self-consistency, 4"
    assert document["strategies"][0]["seconds"]["measured"]
    assert {live["as_replayed"] for live in document["live"]} == {3, None}
    assert "self-evaluation, 0.5" in names(document["strategies"])


def test_a_stopped_run_reports_what_was_finished(model, sets):
    done: list[object] = []
    clock = RealClock()
    parts = assemble.assemble(model, replace(CONFIG, max_sequences=4), clock)
    asker = Asker(parts, clock, temperature=1.0, seed=3, stopped=lambda: len(done) >= 3)
    asked = select_questions(sets, None)
    plan = Plan(max_samples=4)
    document = compare_strategies(asker, asked, plan, nothing, lambda: done.append(1))
    assert document["interrupted"]
    assert 3 <= document["questions"] < 9
    assert document["live"] == []
    assert parts.engine.stats().used_blocks == 0
    parts.engine.close()


def test_runs_take_turns_and_a_stopped_turn_does_not_count(parts, asker, sets, monkeypatch):
    monkeypatch.setattr(run, "TURN", 4)
    asked = select_questions(sets, None)
    whole = compare_strategies(asker, asked, Plan(max_samples=4), nothing, nothing)
    assert [live["as_replayed"] for live in whole["live"]] == [9, 9, None]
    done: list[object] = []
    clock, stopped = RealClock(), lambda: len(done) > 4 * 4
    hasty = Asker(parts, clock, temperature=1.0, seed=3, stopped=stopped)
    part = compare_strategies(hasty, asked, Plan(max_samples=4), nothing, lambda: done.append(1))
    assert part["interrupted"]
    assert part["questions"] == 4
    assert [live["as_replayed"] for live in part["live"]] == [4, 4, None]


def test_the_first_interrupt_is_noted_and_the_second_interrupts():
    with interruptible() as stopped:
        assert not stopped()
        signal.raise_signal(signal.SIGINT)
        assert stopped()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_without_a_finished_question_there_is_nothing_to_compare(asker):
    with pytest.raises(LegatoError, match="no question has all its samples"):
        compare_strategies(asker, [], Plan(), nothing, nothing)


def test_predicted_time_is_the_share_of_the_machine_time(asker, sets):
    answered, _ = asker.draw(select_questions(sets, 3), 4, self_evaluation=False, on_done=nothing)
    baseline = decide_all(contenders(4)[0].strategy, answered)
    assert predicted_time(baseline, baseline, 6.0).value == pytest.approx(2.0)
    assert not predicted_time(baseline, baseline, 6.0).measured
    single = decide_all(contenders(4)[1].strategy, answered)
    time = predicted_time(single, baseline, 6.0)
    assert 0 < time.value < 2.0
    figures = strategy_figures("single", answered, single, baseline, time, 3600.0)
    assert figures.cost == pytest.approx(time.value)
    assert figures.saving.value == pytest.approx(0.25)
    assert sum(each["questions"] for each in figures.by_set.values()) == 3


def test_calibration_covers_every_measure(asker, sets):
    answered, _ = asker.draw(select_questions(sets, 3), 8, self_evaluation=True, on_done=nothing)
    judged = calibrations(answered, 8)
    assert list(judged) == [
        "vote share, 4 samples",
        "Beta criterion, 4 samples",
        "vote share, 8 samples",
        "Beta criterion, 8 samples",
        "mean token probability",
        "self-evaluation",
    ]
    assert {sum(b.count for b in each.bins) for each in judged.values()} == {3}


OPTIONS = ("--backend", "reference", "--kv-dtype", "f32", "--num-kv-blocks", "200")


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["bench", "adaptive", *OPTIONS, *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_ends_with_one_document(model, tmp_path):
    file, saved, page = (tmp_path / name for name in ("own.jsonl", "a.json", "a.html"))
    file.write_text(sets_text())
    options = ("--file", str(file), "--json", str(saved), "--html", str(page))
    out = invoke("-m", "tiny", "--max-samples", "4", "--price-per-hour", "1", *options)
    document = json.loads(out.splitlines()[-1])
    assert document["questions"] == 9
    assert document["model"] == "tiny"
    assert json.loads(saved.read_text())["strategies"] == document["strategies"]
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 4
    assert "</html>" in text
    assert "adaptive consistency, C = 0.95" in out


def test_sets_can_be_chosen(model):
    out = invoke(
        "-m", "tiny", "--set", "choice", "--questions", "2", "--max-samples", "2", "--no-live"
    )
    document = json.loads(out.splitlines()[-1])
    assert list(document["strategies"][0]["by_set"]) == ["choice"]
    assert document["live"] == []


@pytest.mark.parametrize(
    "options", [("--set", "trivia"), ("--file", "/no/such"), ("--max-samples", "1")]
)
def test_options_that_make_no_sense_are_refused(model, options):
    result = CliRunner().invoke(app, ["bench", "adaptive", *OPTIONS, *options])
    assert result.exit_code != 0
