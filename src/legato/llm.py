"""Offline use: text in, text out, in the caller's own thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Sequence as List
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from legato.adaptive.settings import ComputeSettings, parse_settings
from legato.adaptive.shared import SharedSamples
from legato.assemble import Assembled, assemble
from legato.backends.base import F32
from legato.clock import Clock, RealClock
from legato.completion import SampleText
from legato.compute import make_compute
from legato.config import EngineConfig
from legato.core import Constraint, SamplingParams
from legato.engine import EngineStats
from legato.errors import InvalidRequestError, LegatoError
from legato.llm_inputs import (
    Inputs,
    Message,
    Prompt,
    Question,
    ResponseFormat,
    as_list,
    per_prompt,
)
from legato.llm_jobs import Jobs
from legato.llm_results import Encoded, GenerationResult, Solution
from legato.text.tokenizer import Tokenizer
from legato.tools.calls import read_answer
from legato.tools.function import ToolUse
from legato.tools.parse import parse_tool_use, parse_tools

Strategy = ComputeSettings | Mapping[str, Any]
"""How much compute a question gets: `ComputeSettings`, or some of its fields by name."""


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
        self._engine = parts.engine
        self._inputs = Inputs(parts.tokenizer, parts.template, parts.engine.max_context)
        self._jobs = Jobs(parts.engine, clock, lambda params: SampleText(parts.tokenizer, params))
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
        wanted = as_list(prompts)
        return self._generate(
            [self._inputs.prompt(prompt) for prompt in wanted],
            per_prompt(params, len(wanted)),
            self._inputs.constraint(response_format),
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
        prompt = self._inputs.conversation(messages, use)
        constraint = self._inputs.constraint(response_format, use)
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
        return self._stream(
            self._inputs.prompt(prompt), params or SamplingParams(), response_format
        )

    def stream_chat(
        self,
        messages: List[Message],
        params: SamplingParams | None = None,
        *,
        response_format: ResponseFormat = None,
    ) -> Iterator[str]:
        """The assistant's next turn, piece by piece; see `stream`."""
        return self._stream(
            self._inputs.conversation(messages), params or SamplingParams(), response_format
        )

    def solve(
        self,
        question: Question,
        strategy: Strategy,
        params: SamplingParams | None = None,
        *,
        response_format: ResponseFormat = None,
        price_per_hour: float | None = None,
    ) -> Solution:
        """Answer `question` with as many samples as it needs by `strategy`.

        Args:
            question: a user's text, or a conversation.
            strategy: for example {"strategy": "adaptive_consistency", "answer": "last_number"}.
            params: how samples are drawn; their temperature must be above 0.
            response_format: what every sample must look like.
            price_per_hour: of this machine; needed for a budget in money.

        Raises InvalidRequestError, before anything is computed, where the strategy or the
        question cannot be honoured, and LegatoError where all samples fail.
        """
        (solution,) = self.solve_all(
            [question],
            strategy,
            params,
            response_format=response_format,
            price_per_hour=price_per_hour,
        )
        return solution

    def solve_all(
        self,
        questions: List[Question],
        strategy: Strategy,
        params: SamplingParams | None = None,
        *,
        total_samples: int | None = None,
        response_format: ResponseFormat = None,
        price_per_hour: float | None = None,
    ) -> list[Solution]:
        """Answer all `questions`, side by side; otherwise like `solve`.

        `total_samples` is a number of samples that they share: most go to the questions whose
        votes are still open (see `adaptive.sharing`). Each question gets at least one.
        """
        settings = strategy if isinstance(strategy, ComputeSettings) else parse_settings(strategy)
        chosen = params or SamplingParams()
        prompts = [self._inputs.question(question) for question in questions]
        compute = make_compute(
            settings,
            self.tokenizer,
            chosen,
            template=self._template,
            price_per_hour=price_per_hour,
        )
        if total_samples is not None:
            shared = SharedSamples(total_samples, len(questions), compute.strategy)
            compute = replace(compute, shared=shared)
        constraint = self._inputs.constraint(response_format)
        requests = [
            replace(self._jobs.request(prompt, chosen, constraint), compute=compute)
            for prompt in prompts
        ]
        return [_solution(result) for result in self._jobs.run(requests, prompts, compute.shared)]

    def encode_chat(self, messages: List[Message]) -> tuple[int, ...]:
        """The prompt that `chat` gives the model, as token ids."""
        return self._inputs.conversation(messages).token_ids

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
        self, prompts: List[Encoded], params: List[SamplingParams], constraint: Constraint | None
    ) -> list[GenerationResult]:
        pairs = zip(prompts, params, strict=True)
        requests = [self._jobs.request(prompt, chosen, constraint) for prompt, chosen in pairs]
        return self._jobs.run(requests, prompts)

    def _stream(
        self, prompt: Encoded, params: SamplingParams, wanted: ResponseFormat
    ) -> Iterator[str]:
        if params.n != 1:
            raise InvalidRequestError("a stream has one sample; n must be 1", "n")
        request = self._jobs.request(prompt, params, self._inputs.constraint(wanted))
        return self._jobs.stream(request, prompt)

    def _read_calls(self, result: GenerationResult, use: ToolUse, *, prescribed: bool) -> None:
        for output in result.outputs:
            parser = self._inputs.call_parser(use, prescribed=prescribed)
            output.text, output.tool_calls = read_answer(parser, output.text)


def _solution(result: GenerationResult) -> Solution:
    (winner,) = result.outputs
    if winner.error is not None or result.outcome is None:
        raise LegatoError(winner.error or "the question was ended before it was decided")
    return Solution(winner.text, result.outcome, result)
