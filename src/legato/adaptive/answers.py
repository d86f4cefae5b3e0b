"""Reading the answer out of a text, so that texts which say the same count as one.

A rule is named in a word, or as ``kind:argument``:

- ``last_number``: the last number of the text, in its shortest decimal form: ``1,250.0`` is
  ``1250``, ``-0`` is ``0``, ``1e3`` is ``1000``. Thousands may be separated by commas.
- ``choice`` or ``choice:ABCD``: the letter of a multiple choice (A to E, or those given). The last
  letter after the word "answer"; else one that begins the text, as in ``B) Paris``; else the last
  one in parentheses; else the last that stands alone.
- ``text``: the whole text: case folded, white space joined, quotes and full stops around it off.
- ``regex:PATTERN``: the first group of the last match of PATTERN (RE2 syntax), or the whole match
  without groups; normalised like ``text``.
- ``json:PATH``: a member of the JSON object in the text, ``result.items.0`` for example: a number
  like ``last_number``, a text like ``text``, true and false as written, anything else as JSON with
  sorted keys.

Where a rule finds nothing there is no answer. Every rule takes time linear in the text:
patterns see the last `MAX_SEEN` characters, JSON is parsed once, up to `MAX_JSON`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from legato.adaptive.json_answer import json_member, member_path
from legato.adaptive.normalise import normalised_number, normalised_text
from legato.adaptive.pattern import LinearPattern
from legato.errors import InvalidRequestError

MAX_SEEN = 4096
MAX_RULE = 1024
CHOICES = "ABCDE"
KINDS = ("last_number", "choice", "text", "regex:PATTERN", "json:PATH")

Extract = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class AnswerRule:
    """How answers are read. `name` is how it was asked for."""

    name: str
    extract: Extract
    """The normalised answer in a text, or None."""


def parse_answer_rule(name: object, param: str = "answer") -> AnswerRule:
    """The rule that `name` stands for. InvalidRequestError, of field `param`, says what is wrong
    with it."""
    if not isinstance(name, str):
        raise InvalidRequestError(f"{param} should be a text, one of {', '.join(KINDS)}", param)
    if len(name) > MAX_RULE:
        raise InvalidRequestError(f"{param} is longer than {MAX_RULE} characters", param)
    kind, colon, argument = name.partition(":")
    lacks_argument = kind in ("regex", "json") and not argument
    if kind not in _MAKERS or lacks_argument:
        raise InvalidRequestError(
            f"{param} is {name[:64]!a}, which is no rule to read answers by; use one of "
            f"{', '.join(KINDS)}",
            param,
        )
    try:
        return AnswerRule(name, _MAKERS[kind](argument if colon else None))
    except ValueError as error:
        raise InvalidRequestError(f"{param} {name[:64]!a}: {error}", param) from None


_NUMBER = re.compile(
    r"(?:(?<![\w)\]])([-\u2212]))?[$\u20ac\u00a3]?"
    r"((?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)((?:[eE][-+]?[0-9]{1,2}\b)?)"
)


def _last_number(text: str) -> str | None:
    found = _NUMBER.findall(text[-MAX_SEEN:])
    if not found:
        return None
    sign, digits, exponent = found[-1]
    return normalised_number(("-" if sign else "") + digits.replace(",", "") + exponent)


def _without_argument(extract: Extract, argument: str | None) -> Extract:
    if argument is not None:
        raise ValueError("this rule takes no argument")
    return extract


def _choice(argument: str | None) -> Extract:
    letters = CHOICES if argument is None else argument
    if not re.fullmatch("[A-Z]{2,26}", letters) or len(set(letters)) < len(letters):
        raise ValueError("the letters are 2 to 26 different capitals")
    one = f"([{letters}])"
    said = re.compile(rf"(?i:\banswer(?:\s+is)?)\b\s*(?::\s*)?[*(\"'\[]{{0,3}}{one}\b")
    begins = re.compile(rf"\A\W{{0,4}}{one}\s?(?:[).:,]|\Z)")
    enclosed = re.compile(rf"\({one}\)")
    alone = re.compile(rf"(?<![\w']){one}(?![\w'])(?!\s[a-z])")  # not the article of "A man"
    return partial(_letter, ((said, _end), (begins, _start), (enclosed, _end), (alone, _end)))


def _start(text: str) -> str:
    return text.strip()[:MAX_SEEN]


def _end(text: str) -> str:
    return text[-MAX_SEEN:]


Look = tuple[re.Pattern[str], Callable[[str], str]]


def _letter(looks: tuple[Look, ...], text: str) -> str | None:
    """What the first pattern that occurs in its part of the text says last."""
    for pattern, part in looks:
        if found := pattern.findall(part(text)):
            return str(found[-1])
    return None


def _regex(argument: str | None) -> Extract:
    return partial(_matched, LinearPattern(argument or ""))


def _matched(pattern: LinearPattern, text: str) -> str | None:
    found = pattern.last(text[-MAX_SEEN:])
    return None if found is None else normalised_text(found)


def _json(argument: str | None) -> Extract:
    return partial(json_member, member_path(argument or ""))


_MAKERS: dict[str, Callable[[str | None], Extract]] = {
    "last_number": partial(_without_argument, _last_number),
    "choice": _choice,
    "text": partial(_without_argument, normalised_text),
    "regex": _regex,
    "json": _json,
}
