"""Files of questions, strictly read.

A file is JSON, one object a line. A line with ``set`` begins a set, the lines after it are its
questions:

    {"set": "sums", "rule": "last_number", "prefix": "What is 2 plus 2? 4\\n", "max_tokens": 8}
    {"question": "What is 3 plus 4?", "answer": "7"}

The fields are those of `QuestionSet` and `Question`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from legato.adaptive.answers import parse_answer_rule
from legato.bench.adaptive.questions import Question, QuestionSet
from legato.errors import InvalidRequestError, LegatoError

NAMES = ("arithmetic", "word_problems", "choice", "classification")
"""The sets that come with Legato."""

MAX_TEXT = 16_384


def built_in_sets(names: Sequence[str] = NAMES) -> list[QuestionSet]:
    """Sets that come with Legato. LegatoError for a name that none of them has."""
    for name in names:
        if name not in NAMES:
            raise LegatoError(f"there is no question set {name!r}; there are {', '.join(NAMES)}")
    folder = files("legato.bench").joinpath("data/questions")
    texts = {name: folder.joinpath(f"{name}.jsonl").read_text("utf-8") for name in names}
    return [each for name, text in texts.items() for each in parse_sets(text, name)]


def read_sets(path: Path) -> list[QuestionSet]:
    """The sets in a file. LegatoError says in which line what is wrong."""
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise LegatoError(f"cannot read questions from {path}: {error}") from error
    return parse_sets(text, str(path))


def parse_sets(text: str, source: str) -> list[QuestionSet]:
    """The sets in a text; `source` names it in errors.

    Raises LegatoError for malformed lines, unknown fields, an answer that its own rule does not
    read, a question that comes twice in a set, and a set without questions.
    """
    sets: list[_Draft] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        record = _record(line, where)
        if "set" in record:
            sets.append(_Draft(_head(record, where), where))
        elif sets:
            sets[-1].add(record, where)
        else:
            _refuse(where, 'a set must come first, such as {"set": "mine", "rule": "last_number"}')
    if not sets:
        _refuse(source, "there are no questions")
    if len({draft.head.set for draft in sets}) < len(sets):
        _refuse(source, "two sets have the same name")
    return [draft.finish() for draft in sets]


class _Draft:
    """A set in the making."""

    def __init__(self, head: QuestionSet, where: str) -> None:
        self.head = head
        self._where = where
        self._rule = head.answer_rule()
        self._questions: dict[str, Question] = {}

    def add(self, record: Mapping[str, Any], where: str) -> None:
        """The question in `record`."""
        _check_fields(record, _QUESTION, where)
        question = Question(**_as_fields(record, where))
        if question.question in self._questions:
            _refuse(where, "this question came before")
        self._check_answer(question, where)
        self._questions[question.question] = question

    def _check_answer(self, question: Question, where: str) -> None:
        name, answer = self.head.rule, question.answer
        choices = self.head.choices_of(question)
        if choices:
            if [self._rule.extract(text) for text in choices].count(answer) != 1:
                _refuse(where, f"the rule {name} reads {answer!a} from none, or several, choices")
        elif self._rule.extract(answer) != answer:
            read = self._rule.extract(answer)
            _refuse(where, f"the rule {name} reads {read!a} from the answer {answer!a}; write that")

    def finish(self) -> QuestionSet:
        """The set."""
        if not self._questions:
            _refuse(self._where, f"the set {self.head.set!a} has no questions")
        return replace(self.head, questions=tuple(self._questions.values()))


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        _refuse(where, f"this is no JSON ({error})")
    if not isinstance(record, dict):
        _refuse(where, "each line must be a JSON object")
    return record


def _head(record: Mapping[str, Any], where: str) -> QuestionSet:
    _check_fields(record, _SET, where)
    try:
        parse_answer_rule(record["rule"], "rule")
    except InvalidRequestError as error:
        _refuse(where, str(error))
    return QuestionSet(**_as_fields(record, where))


_QUESTION = {"question": str, "answer": str, "choices": list}
_SET = {
    "set": str,
    "rule": str,
    "prefix": str,
    "suffix": str,
    "stop": list,
    "choices": list,
    "max_tokens": int,
    "chat": bool,
}
_NEEDED = {"set", "rule", "question", "answer"}


def _check_fields(record: Mapping[str, Any], kinds: Mapping[str, type], where: str) -> None:
    for name in record:
        if name not in kinds:
            _refuse(where, f"there is no field {name[:40]!a}; there are {', '.join(kinds)}")
    for name, kind in kinds.items():
        if name not in record:
            if name in _NEEDED:
                _refuse(where, f"the field {name!r} is missing")
        elif type(record[name]) is not kind:
            _refuse(where, f"the field {name!r} must be {_NOUNS[kind]}")


_NOUNS = {str: "a text", list: "a list of texts", int: "an integer", bool: "true or false"}


def _as_fields(record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values with their limits checked, lists as tuples."""
    values: dict[str, Any] = {}
    for name, value in record.items():
        values[name] = tuple(value) if isinstance(value, list) else value
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(value, int):
                _check_text(name, text, where)
    if not 1 <= values.get("max_tokens", 1) <= 4096:
        _refuse(where, "max_tokens must be from 1 to 4096")
    return values


def _check_text(name: str, text: object, where: str) -> None:
    if not isinstance(text, str):
        _refuse(where, f"the field {name!r} must be a list of texts")
    if len(text) > MAX_TEXT:
        _refuse(where, f"the field {name!r} is longer than {MAX_TEXT} characters")
    if not text and name not in ("prefix", "suffix"):
        _refuse(where, f"the field {name!r} is empty")


def _refuse(where: str, reason: str) -> NoReturn:
    raise LegatoError(f"{where}: {reason}")
