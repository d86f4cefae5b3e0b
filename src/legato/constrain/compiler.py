"""From an output form to a constraint, within a budget and away from everybody's threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from legato.clock import Clock, RealClock
from legato.constrain.cache import ByteCache
from legato.constrain.form import FormKind, OutputForm
from legato.constrain.matcher import U32, GrammarConstraint, compute_mask, usable_tokens
from legato.constrain.vocabulary import TokenizerLike, make_vocabulary
from legato.errors import InvalidRequestError, OverloadedError

MAX_SECONDS = 1.0
"""A grammar that took longer to compile is refused from then on; sizes bound the first time."""
MAX_PENDING = 64
"""Compilations that run or wait; one more is refused until some are done."""
CACHE_BYTES = 64 << 20
STACK_BYTES = 256 << 20
"""llguidance follows references by recursion, some kilobytes each; only touched pages count."""
BYTES_PER_GRAMMAR = 65_536
BYTES_PER_CHAR = 384
"""A grammar's share of the cache is estimated (by resident memory): base + per character."""
MAX_MESSAGE = 300

WHITESPACE = r" |\n[ \t]{0,32}"
"""Between JSON tokens: nothing, a space, or a line break and its indentation. Bounded, because a
model that may write white space without end sometimes does."""

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

_log = logging.getLogger(__name__)
_stack_size = threading.Lock()  # the size of new threads' stacks is the whole process's


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a form cannot be compiled."""

    reason: str


_Result = GrammarConstraint | _Refusal


def limits() -> LLParserLimits:
    """Bounds on the work of compiling (the lexer's fuel) and of every mask (items and fuel)."""
    return LLParserLimits(
        max_items_in_row=1_000,
        initial_lexer_fuel=400_000,
        step_lexer_fuel=100_000,
        step_max_items=20_000,
        max_lexer_states=20_000,
        max_grammar_size=100_000,
        verbose_errors=False,
    )


class GrammarCompiler:
    """Compiles for one tokenizer, one grammar at a time, and remembers. Safe from any thread.

    The vocabulary is prepared with the first grammar.
    """

    def __init__(self, tokenizer: TokenizerLike, clock: Clock | None = None) -> None:
        self._tokenizer = tokenizer
        self._clock = clock or RealClock()
        self._cache: ByteCache[_Result] = ByteCache(CACHE_BYTES)
        self._turn = threading.Lock()
        self._slots = threading.Semaphore(MAX_PENDING)

    def compile(self, form: OutputForm) -> GrammarConstraint:
        """The constraint of `form`; waits for it.

        Raises:
            InvalidRequestError: the form is not valid, or too complex; `param` is the form's.
            OverloadedError: too many others are being compiled.
        """
        return self._submitted(form).result()

    async def compiled(self, form: OutputForm) -> GrammarConstraint:
        """The same without blocking the event loop."""
        return await asyncio.wrap_future(self._submitted(form))

    def _submitted(self, form: OutputForm) -> Future[GrammarConstraint]:
        future: Future[GrammarConstraint] = Future()
        known = self._cache.get(form.key)
        if known is not None:
            _settle(future, known, form)
        elif self._slots.acquire(blocking=False):
            _start_deep(partial(self._run, form, future))
        else:
            raise OverloadedError("many grammars are being compiled; try again later", 1.0)
        return future

    def _run(self, form: OutputForm, future: Future[GrammarConstraint]) -> None:
        try:
            with self._turn:
                if not future.set_running_or_notify_cancel():
                    return
                result = self._cache.get(form.key) or self._built(form)
        except Exception as error:  # the vocabulary itself does not fit
            future.set_exception(error)
            return
        finally:
            self._slots.release()
        _settle(future, result, form)

    def _built(self, form: OutputForm) -> _Result:
        vocabulary = self._vocabulary
        start_ns = self._clock.now_ns()
        try:
            result = self._build(vocabulary, form)
        except BaseException:  # a panic in Rust is no Exception
            _log.exception("a grammar could not be compiled")
            result = _Refusal("it cannot be compiled")
        if self._clock.now_ns() - start_ns > MAX_SECONDS * 1e9:
            result = _Refusal(f"compiling it takes more than {MAX_SECONDS:g} s; make it simpler")
        self._cache.put(form.key, result, BYTES_PER_GRAMMAR + BYTES_PER_CHAR * len(form.text))
        return result

    def _build(self, vocabulary: LLTokenizer, form: OutputForm) -> _Result:
        try:
            matcher = LLMatcher(vocabulary, _source(form), log_level=0, limits=limits())
        except ValueError as error:
            return _Refusal(_shown(str(error)))
        if matcher.is_error():
            return _Refusal(_shown(matcher.get_error()))
        first = np.zeros_like(self._usable)
        try:
            compute_mask(matcher.deep_copy(), first)
        except ValueError as error:
            return _Refusal(f"no text fits it ({_shown(str(error))})")
        first &= self._usable
        return (
            GrammarConstraint(matcher, first, self._usable)
            if first.any()
            else _Refusal("no text fits it")
        )

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        return make_vocabulary(self._tokenizer)

    @cached_property
    def _usable(self) -> U32:
        source = self._tokenizer
        return usable_tokens(source.vocab_size, source.special_ids, source.eos_ids)


def _source(form: OutputForm) -> str:
    """`form` in llguidance's own notation. ValueError where it cannot be read."""
    if form.kind is FormKind.REGEX:
        return LLMatcher.grammar_from_regex(form.text)
    if form.kind is FormKind.LARK:
        return LLMatcher.grammar_from_lark(form.text)
    return LLMatcher.grammar_from_json_schema(
        form.text,
        overrides=json_options(strict=form.strict),
    )


def json_options(*, strict: bool) -> JsonCompileOptions:
    """How schemas are read; a grammar can give it to a schema within as ``x-guidance``."""
    return {
        "whitespace_flexible": True,
        "whitespace_pattern": WHITESPACE,
        "lenient": not strict,
        "coerce_one_of": not strict,
    }


def _settle(future: Future[GrammarConstraint], result: _Result, form: OutputForm) -> None:
    if isinstance(result, _Refusal):
        message = f"the {form.kind.noun} of {form.param} cannot be used: {result.reason}"
        future.set_exception(InvalidRequestError(message, form.param))
    else:
        future.set_result(result)


def _start_deep(work: Callable[[], None]) -> None:
    """Do `work` in a thread whose stack holds a recursion as deep as the size limits allow."""
    thread = threading.Thread(target=work, name="legato-grammar", daemon=True)
    with _stack_size:
        usual = threading.stack_size(STACK_BYTES)
        try:
            thread.start()
        finally:
            threading.stack_size(usual)


def _shown(message: str) -> str:
    """A message of llguidance, on one line and short."""
    line = " ".join(message.replace("<non-verbose/>", "").split())
    return line if len(line) <= MAX_MESSAGE else line[:MAX_MESSAGE] + "…"
