"""The question sets: those that come with Legato, and files of users."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path

import pytest

from legato.bench.adaptive.question_files import NAMES, built_in_sets, parse_sets, read_sets
from legato.errors import LegatoError

ROOT = Path(__file__).resolve().parents[2]
HEAD = {"set": "mine", "rule": "last_number", "suffix": " ="}
SUM = {"question": "3 + 4", "answer": "7"}


def lines(*records: object) -> str:
    return "\n".join(json.dumps(record) for record in records)


def test_there_are_over_400_questions_and_each_set_has_100():
    sizes = {each.set: len(each.questions) for each in built_in_sets()}
    assert set(sizes) == set(NAMES)
    assert min(sizes.values()) >= 100
    assert sum(sizes.values()) > 400


@pytest.mark.parametrize("name", NAMES)
def test_no_question_comes_twice_or_is_among_the_examples(name):
    (questions,) = built_in_sets([name])
    texts = [question.question for question in questions.questions]
    assert len({text.casefold() for text in texts}) == len(texts)
    assert not any(text in questions.prefix for text in texts)


@pytest.mark.parametrize("name", NAMES)
def test_the_rule_reads_the_answer_from_a_perfect_reply(name):
    (each,) = built_in_sets([name])
    extract = each.answer_rule().extract
    for question in each.questions:
        replies = each.choices_of(question) or (f" 1 + 1 = {question.answer}",)
        assert [extract(reply) for reply in replies].count(question.answer) == 1


def test_arithmetic_is_right():
    (arithmetic,) = built_in_sets(["arithmetic"])
    for each in arithmetic.questions:
        words = each.question.removeprefix("What is ").removesuffix("?").split()
        a, sign, b = int(words[0]), words[1], int(words[2])
        assert int(each.answer) == (a + b if sign == "plus" else a * b)


def test_choices_are_balanced_over_the_letters():
    (choice,) = built_in_sets(["choice"])
    counts = Counter(question.answer for question in choice.questions)
    assert max(counts.values()) - min(counts.values()) <= 2


def test_the_script_writes_the_files_that_are_there():
    spec = importlib.util.spec_from_file_location(
        "make_questions", ROOT / "scripts/make_questions.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for name, text in script.sets().items():
        assert (script.FOLDER / name).read_text("utf-8") == text


def test_a_file_may_have_several_sets(tmp_path):
    path = tmp_path / "questions.jsonl"
    second = {"set": "words", "rule": "text", "choices": [" yes", " no"], "chat": True}
    path.write_text(lines(HEAD, SUM, second, {"question": "Is ice cold?", "answer": "yes"}))
    sums, words = read_sets(path)
    assert sums.prompt(sums.questions[0]) == "3 + 4 ="
    assert words.chat
    assert words.choices_of(words.questions[0]) == (" yes", " no")


@pytest.mark.parametrize(
    ("text", "teaches"),
    [
        ("", "no questions"),
        (lines(SUM), "a set must come first"),
        (lines(HEAD), "has no questions"),
        (lines(HEAD, SUM, HEAD, SUM), "same name"),
        (lines(HEAD, SUM, SUM), "line 3: this question came before"),
        (lines(HEAD) + "\n{", "line 2: this is no JSON"),
        (lines(HEAD, [1]), "must be a JSON object"),
        (lines(HEAD, {"question": "x"}), "'answer' is missing"),
        (lines(HEAD, {**SUM, "answer": 7}), "'answer' must be a text"),
        (lines(HEAD, {**SUM, "hint": "x"}), "no field 'hint'; there are question, answer"),
        (lines(HEAD, {**SUM, "answer": "7.0"}), "reads '7' from the answer '7.0'"),
        (lines(HEAD, {**SUM, "answer": ""}), "'answer' is empty"),
        (lines(HEAD, {**SUM, "choices": ["6", "8"]}), "from none, or several, choices"),
        (lines(HEAD, {**SUM, "choices": [7]}), "must be a list of texts"),
        (lines({**HEAD, "rule": "guess"}, SUM), "line 1: rule is 'guess'"),
        (lines({**HEAD, "rule": "regex:("}, SUM), "regular expression"),
        (lines({**HEAD, "max_tokens": 0}, SUM), "max_tokens must be from 1"),
        (lines({**HEAD, "max_tokens": True}, SUM), "must be an integer"),
        (lines({**HEAD, "prefix": "x" * 20_000}, SUM), "longer than"),
        ("[" * 100_000, "this is no JSON"),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_reason(text, teaches):
    with pytest.raises(LegatoError) as caught:
        parse_sets(text, "file")
    assert "file" in str(caught.value)
    assert teaches in str(caught.value)


def test_the_example_of_the_documentation_is_a_file():
    text = (ROOT / "docs/adaptive.md").read_text("utf-8")
    example = [line.strip() for line in text.splitlines() if line.startswith("    {")]
    (colours,) = parse_sets("\n".join(example), "docs/adaptive.md")
    assert len(colours.questions) == 2


def test_unknown_sets_and_files_are_refused(tmp_path):
    with pytest.raises(LegatoError, match="there are arithmetic, word_problems"):
        built_in_sets(["trivia"])
    with pytest.raises(LegatoError, match="cannot read"):
        read_sets(tmp_path / "missing.jsonl")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(LegatoError, match="cannot read"):
        read_sets(tmp_path / "bytes")
