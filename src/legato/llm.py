"""Offline use: text in, text out, in the caller's own thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as List
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from legato.assemble import Assembled, assemble
from legato.backends.base import F32
from legato.clock import Clock, RealClock
from legato.completion import SampleText, TextDelta
from legato.config import EngineConfig
from legato.constrain.compiler import GrammarCompiler
from legato.constrain.form import OutputForm, from_response_format
from legato.core import Constraint, FinishReason, Request, SamplingParams, TokenEvent, TokenLogprobs
from legato.engine import EngineStats
from legato.errors import InvalidRequestError, LegatoError
from legato.text.chat_messages import normalised_messages
from legato.text.prompt import chat_prompt, text_prompt
from legato.text.tokenizer import Tokenizer
from legato.tools.calls import ToolCall, read_answer
from legato.tools.dialect import style_of
from legato.tools.function import NO_TOOLS, ToolUse
from legato.tools.grammar import tool_form
from legato.tools.parse import parse_tool_use, parse_tools
from legato.tools.reading import make_parser, written_dialect
from legato.tools.shown import shown_tools
from legato.validate import check_params

Prompt = str | List[int]
Message = Mapping[str, Any]
ResponseFormat = OutputForm | Mapping[str, Any] | None
"""What an output must look like: OpenAI's ``response_format`` object, or a form that
`legato.constrain.form` makes of a regular expression, a list of choices or a grammar."""


@dataclass(slots=True)
class SampleResult:
    """One sample of a prompt.

    Attributes:
        token_ids: all tokens, with the one that ended the sequence.
        logprobs: one entry per token, where they were asked for.
        token_times_ns: when the step of each token ended.
        tool_calls: where functions were offered, those that were called.
    """

    index: int
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] | None = None
    finish_reason: FinishReason | None = None
    error: str | None = None
    token_times_ns: list[int] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)


@dataclass(slots=True)
class GenerationResult:
    """What a prompt was continued with; one output per sample.

    Attributes:
        prompt: the text, or None where token ids were given.
        cached_tokens: prompt tokens that came from the prefix cache.
        arrival_ns: when the prompt was handed to the engine; same clock as `token_times_ns`.
    """

    prompt: str | None
    prompt_token_ids: list[int]
    outputs: list[SampleResult]
    arrival_ns: int
    cached_tokens: int = 0


class LLM:
    """A model in this process. Not thread-safe; the server is for that.

    Several `stream`s and a `generate` may be interleaved: each advances all of them.
    """

    def __init__(self, model: str | Path, **config: Any) -> None:  # noqa: ANN401 - checked by EngineConfig
        """Load `model`: a ``.gguf`` file, a safetensors folder or a known name.

        `config` are fields of `EngineConfig`; an unknown one is a TypeError.
        """
        self._set_up(model, EngineConfig(**config), RealClock())

    @classmethod
    def from_config(cls, path: Path, config: EngineConfig, clock: Clock | None = None) -> Self:
        """Load the model file or folder at `path`."""
        llm = cls.__new__(cls)
        llm._set_up(path, config, clock or RealClock())
        return llm

    def _set_up(self, model: str | Path, config: EngineConfig, clock: Clock) -> None:
        parts: Assembled = assemble(model, config, clock)
        self.model = parts.model
        self.tokenizer: Tokenizer = parts.tokenizer
        self._template = parts.template
        self._tools = style_of(parts.tokenizer.chat_template)
        self._grammars = GrammarCompiler(parts.tokenizer)
        self._engine = parts.engine
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._added = 0
        self._closed = False

    @property
    def max_context(self) -> int:
        """Most tokens of prompt and output together."""
        return self._engine.max_context

    def generate(
        self,
        prompts: Prompt | List[Prompt],
        params: SamplingParams | List[SamplingParams] | None = None,
        *,
        response_format: ResponseFormat = None,
    ) -> list[GenerationResult]:
        """Continue every prompt; one result each, in order.

        Args:
            prompts: a text, a list of texts, or a list of lists of token ids. One list of token
                ids alone is one prompt.
            params: for all prompts, or one each.
            response_format: what every output must look like.

        Raises:
            InvalidRequestError: a prompt, parameter or format cannot be honoured; nothing was
                generated.
            CapacityError: a prompt can never fit into the KV pool.
        """
        wanted = _as_list(prompts)
        return self._generate(
            [self._prompt(p) for p in wanted],
            _per_prompt(params, len(wanted)),
            self._constraint(response_format),
        )

    def chat(
        self,
        messages: List[Message],
        params: SamplingParams | None = None,
        *,
        response_format: ResponseFormat = None,
        tools: List[Mapping[str, Any]] = (),
        tool_choice: str | Mapping[str, Any] | None = None,
        parallel_tool_calls: bool | None = None,
    ) -> GenerationResult:
        """The assistant's next turn. `messages` are {"role": …, "content": …}.

        `tools`, `tool_choice` and `parallel_tool_calls` are those of OpenAI's chat API; the calls
        are then in `SampleResult.tool_calls`, and `text` is what was written around them.
        """
        functions = parse_tools(list(tools)) if tools else ()
        use = parse_tool_use(functions, tool_choice, parallel_tool_calls)
        prompt = self._chat_prompt(messages, use)
        constraint = self._constraint(response_format, use)
        (result,) = self._generate([prompt], [params or SamplingParams()], constraint)
        if use.functions:
            self._read_calls(result, use, prescribed=constraint is not None)
        return result

    def stream(
        self,
        prompt: Prompt,
        params: SamplingParams | None = None,
        *,
        response_format: ResponseFormat = None,
    ) -> Iterator[str]:
        """The text of one sample, piece by piece. Closing the iterator cancels the request.

        Raises LegatoError where the sample fails on the way.
        """
        return self._stream(self._prompt(prompt), params or SamplingParams(), response_format)

    def stream_chat(
        self,
        messages: List[Message],
        params: SamplingParams | None = None,
        *,
        response_format: ResponseFormat = None,
    ) -> Iterator[str]:
        """The assistant's next turn, piece by piece; see `stream`."""
        return self._stream(
            self._chat_prompt(messages), params or SamplingParams(), response_format
        )

    def encode_chat(self, messages: List[Message]) -> tuple[int, ...]:
        """The prompt that `chat` gives the model, as token ids."""
        return self._chat_prompt(messages).token_ids

    def logits(self, token_ids: List[int]) -> F32:
        """Next-token logits at every position of `token_ids`, f32 [len, vocab]."""
        return self._engine.logits(token_ids)

    def stats(self) -> EngineStats:
        """Figures of the engine as of now."""
        return self._engine.stats()

    def close(self) -> None:
        """Release the model. Idempotent."""
        if not self._closed:
            self._closed = True
            self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _generate(
        self, prompts: List[_Encoded], params: List[SamplingParams], constraint: Constraint | None
    ) -> list[GenerationResult]:
        pairs = zip(prompts, params, strict=True)
        requests = [self._request(prompt, chosen, constraint) for prompt, chosen in pairs]
        for request in requests:
            self._engine.check(request)
        jobs = [
            self._start(request, prompt) for request, prompt in zip(requests, prompts, strict=True)
        ]
        try:
            while any(job.unfinished for job in jobs):
                self._step()
        finally:
            for job in jobs:
                self._finish(job)
        return [job.result for job in jobs]

    def _stream(
        self, prompt: _Encoded, params: SamplingParams, wanted: ResponseFormat
    ) -> Iterator[str]:
        if params.n != 1:
            raise InvalidRequestError("a stream has one sample; n must be 1", "n")
        request = self._request(prompt, params, self._constraint(wanted))
        self._engine.check(request)
        return self._pieces(request, prompt)

    def _pieces(self, request: Request, prompt: _Encoded) -> Iterator[str]:
        job = self._start(request, prompt)
        given = 0
        output = job.result.outputs[0]
        try:
            while job.unfinished or given < len(output.text):
                if given < len(output.text):
                    given, start = len(output.text), given
                    yield output.text[start:given]
                else:
                    self._step()
        finally:
            self._finish(job)
        if output.error is not None:
            raise LegatoError(output.error)

    def _step(self) -> None:
        for event in self._engine.step():
            job = self._jobs.get(event.request_id)
            if job is not None and job.take(event):
                self._engine.cancel(event.request_id, event.index)

    def _start(self, request: Request, prompt: _Encoded) -> _Job:
        job = _Job(request, prompt, self._clock.now_ns(), self._new_text)
        self._engine.add(request)
        self._jobs[request.id] = job
        return job

    def _new_text(self, params: SamplingParams) -> SampleText:
        return SampleText(self.tokenizer, params)

    def _finish(self, job: _Job) -> None:
        """Forget `job`; what still runs of it is cancelled."""
        del self._jobs[job.request_id]
        self._engine.cancel(job.request_id)

    def _request(
        self, prompt: _Encoded, params: SamplingParams, constraint: Constraint | None
    ) -> Request:
        self._added += 1
        check_params(params, self._engine.vocab_size)
        return Request(
            id=f"llm-{self._added}", prompt=prompt.token_ids, params=params, constraint=constraint
        )

    def _constraint(self, wanted: ResponseFormat, use: ToolUse = NO_TOOLS) -> Constraint | None:
        form = wanted if isinstance(wanted, OutputForm) else from_response_format(wanted)
        if use.functions:
            form = tool_form(use, written_dialect(self._tools.dialect, prescribed=True), form)
        return None if form is None else self._grammars.compile(form)

    def _read_calls(self, result: GenerationResult, use: ToolUse, *, prescribed: bool) -> None:
        for output in result.outputs:
            parser = make_parser(self._tools.dialect, use, prescribed=prescribed)
            output.text, output.tool_calls = read_answer(parser, output.text)

    def _prompt(self, prompt: Prompt) -> _Encoded:
        if isinstance(prompt, str):
            return _Encoded(*text_prompt(self.tokenizer, prompt, self.max_context))
        return _Encoded(None, tuple(prompt))

    def _chat_prompt(self, messages: List[Message], use: ToolUse = NO_TOOLS) -> _Encoded:
        shown, tools = shown_tools(self._tools, normalised_messages(messages), use)
        return _Encoded(
            *chat_prompt(self.tokenizer, self._template, shown, self.max_context, tools)
        )


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A prompt and its token ids."""

    text: str | None
    token_ids: tuple[int, ...]


class _Job:
    """The result of one request in the making."""

    def __init__(
        self,
        request: Request,
        prompt: _Encoded,
        arrival_ns: int,
        new_text: Callable[[SamplingParams], SampleText],
    ) -> None:
        params = request.params
        self.request_id = request.id
        self.unfinished = params.n
        self._texts = [new_text(params) for _ in range(params.n)]
        logprobs = params.logprobs is not None
        self.result = GenerationResult(
            prompt=prompt.text,
            prompt_token_ids=list(prompt.token_ids),
            outputs=[SampleResult(i, logprobs=[] if logprobs else None) for i in range(params.n)],
            arrival_ns=arrival_ns,
        )

    def take(self, event: TokenEvent) -> bool:
        """Add `event`; True where its sample has ended by a stop string, of which the engine
        does not know."""
        text, output = self._texts[event.index], self.result.outputs[event.index]
        if text.finish_reason is not None:
            return False
        delta = text.push(event)
        _add(output, event, delta)
        self.result.cached_tokens = max(self.result.cached_tokens, event.cached_tokens)
        self.unfinished -= delta.finish_reason is not None
        return delta.finish_reason is not None and event.finish_reason is None


def _add(output: SampleResult, event: TokenEvent, delta: TextDelta) -> None:
    output.text += delta.text
    output.finish_reason = delta.finish_reason
    output.error = delta.error
    if event.token_id is not None:
        output.token_ids.append(event.token_id)
        output.token_times_ns.append(event.time_ns)
    if output.logprobs is not None and event.logprobs is not None:
        output.logprobs.append(event.logprobs)


def _as_list(prompts: Prompt | List[Prompt]) -> list[Prompt]:
    """One prompt, as text or token ids, or several."""
    if isinstance(prompts, str):
        return [prompts]
    if all(isinstance(item, str | list | tuple) for item in prompts):
        return list(prompts)  # type: ignore[arg-type]
    return [prompts]  # type: ignore[list-item]


def _per_prompt(
    params: SamplingParams | List[SamplingParams] | None, count: int
) -> list[SamplingParams]:
    if params is None or isinstance(params, SamplingParams):
        return [params or SamplingParams()] * count
    if len(params) != count:
        raise InvalidRequestError(f"{len(params)} params were given for {count} prompts", "params")
    return list(params)
