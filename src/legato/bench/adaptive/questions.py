"""Questions with known answers, in sets that share a prompt and a rule to read answers by."""

from __future__ import annotations

from dataclasses import dataclass

from legato.adaptive.answers import AnswerRule, parse_answer_rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and its answer as the set's rule reads it.

    Attributes:
        choices: what the output must be one of; empty leaves that to the set.
    """

    question: str
    answer: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionSet:
    """Questions that are asked and judged in one way.

    Attributes:
        set: its name.
        rule: how answers are read (`legato.adaptive.answers`).
        prefix: text before each question, as a rule some examples.
        suffix: text behind it.
        stop: texts that end an output, and are no part of it.
        choices: what an output must be one of; empty for any text.
        max_tokens: most tokens of an output.
        chat: whether the prompt is a turn of a chat with the model's template around it.
    """

    set: str
    rule: str
    prefix: str = ""
    suffix: str = ""
    stop: tuple[str, ...] = ("\n",)
    choices: tuple[str, ...] = ()
    max_tokens: int = 24
    chat: bool = False
    questions: tuple[Question, ...] = ()

    def prompt(self, question: Question) -> str:
        """The text that is to be continued."""
        return self.prefix + question.question + self.suffix

    def choices_of(self, question: Question) -> tuple[str, ...]:
        """What the output must be one of; empty for any text."""
        return question.choices or self.choices

    def answer_rule(self) -> AnswerRule:
        """How answers are read."""
        return parse_answer_rule(self.rule, "rule")
