"""From what a caller of `LLM` writes to what the engine takes: prompts, forms, functions."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as List
from typing import Any

from legato.constrain.compiler import GrammarCompiler
from legato.constrain.form import OutputForm, from_response_format
from legato.core import Constraint, SamplingParams
from legato.errors import InvalidRequestError
from legato.llm_results import Encoded
from legato.text.chat_messages import normalised_messages
from legato.text.prompt import Renderer, chat_prompt, text_prompt
from legato.text.tokenizer import Tokenizer
from legato.tools.dialect import style_of
from legato.tools.function import NO_TOOLS, ToolUse
from legato.tools.grammar import tool_form
from legato.tools.parts import ToolParser
from legato.tools.reading import make_parser, written_dialect
from legato.tools.shown import shown_tools

Prompt = str | List[int]
Message = Mapping[str, Any]
Question = str | List[Message]
"""A user's text, or a conversation."""

ResponseFormat = OutputForm | Mapping[str, Any] | None
"""What an output must look like: OpenAI's ``response_format`` object, or a form that
`legato.constrain.form` makes of a regular expression, a list of choices or a grammar."""


class Inputs:
    """What one model has to be given, in its own tokens and its own way to write calls.

    All methods raise InvalidRequestError for what cannot be honoured.
    """

    def __init__(self, tokenizer: Tokenizer, template: Renderer, max_context: int) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._max_context = max_context
        self._tools = style_of(tokenizer.chat_template)
        self._grammars = GrammarCompiler(tokenizer)

    def prompt(self, prompt: Prompt) -> Encoded:
        """A text, or token ids as they are."""
        if isinstance(prompt, str):
            return Encoded(*text_prompt(self._tokenizer, prompt, self._max_context))
        return Encoded(None, tuple(prompt))

    def question(self, question: Question) -> Encoded:
        """A user's text as a conversation of one turn, or a conversation."""
        whole = [{"role": "user", "content": question}] if isinstance(question, str) else question
        return self.conversation(whole)

    def conversation(self, messages: List[Message], use: ToolUse = NO_TOOLS) -> Encoded:
        """The prompt that asks for the assistant's next turn, with the functions it may call."""
        shown, tools = shown_tools(self._tools, normalised_messages(messages), use)
        prompt = chat_prompt(self._tokenizer, self._template, shown, self._max_context, tools)
        return Encoded(*prompt)

    def constraint(self, wanted: ResponseFormat, use: ToolUse = NO_TOOLS) -> Constraint | None:
        """The language of the output; None where everything is allowed."""
        form = wanted if isinstance(wanted, OutputForm) else from_response_format(wanted)
        if use.functions:
            form = tool_form(use, written_dialect(self._tools.dialect, prescribed=True), form)
        return None if form is None else self._grammars.compile(form)

    def call_parser(self, use: ToolUse, *, prescribed: bool) -> ToolParser:
        """Reads the calls in one answer; `prescribed` where a constraint held for it."""
        return make_parser(self._tools.dialect, use, prescribed=prescribed)


def as_list(prompts: Prompt | List[Prompt]) -> list[Prompt]:
    """One prompt, as text or token ids, or several."""
    if isinstance(prompts, str):
        return [prompts]
    if all(isinstance(item, str | list | tuple) for item in prompts):
        return list(prompts)  # type: ignore[arg-type]
    return [prompts]  # type: ignore[list-item]


def per_prompt(
    params: SamplingParams | List[SamplingParams] | None, count: int
) -> list[SamplingParams]:
    """Parameters for each of `count` prompts, from those for all or one each."""
    if params is None or isinstance(params, SamplingParams):
        return [params or SamplingParams()] * count
    if len(params) != count:
        raise InvalidRequestError(f"{len(params)} params were given for {count} prompts", "params")
    return list(params)
