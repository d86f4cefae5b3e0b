"""Requests that run on an engine in the caller's own thread, and their texts in the making."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Sequence as List

from legato.adaptive.shared import SharedSamples
from legato.clock import Clock
from legato.completion import SampleText, TextDelta
from legato.core import Constraint, Request, SamplingParams, TokenEvent
from legato.engine import Engine
from legato.errors import LegatoError
from legato.llm_results import Encoded, GenerationResult, SampleResult
from legato.validate import check_params

NewText = Callable[[SamplingParams], SampleText]
"""Makes what turns the tokens of one sample into text."""


class Jobs:
    """Several may be under way at once: each step of the engine advances all of them."""

    def __init__(self, engine: Engine, clock: Clock, new_text: NewText) -> None:
        self._engine = engine
        self._clock = clock
        self._new_text = new_text
        self._live: dict[str, Job] = {}
        self._requested = 0

    def request(
        self, prompt: Encoded, params: SamplingParams, constraint: Constraint | None
    ) -> Request:
        """A request with an id of its own; InvalidRequestError where `params` are out of range."""
        self._requested += 1
        check_params(params, self._engine.vocab_size)
        return Request(
            id=f"llm-{self._requested}",
            prompt=prompt.token_ids,
            params=params,
            constraint=constraint,
        )

    def run(
        self,
        requests: List[Request],
        prompts: List[Encoded],
        shared: SharedSamples | None = None,
    ) -> list[GenerationResult]:
        """Finish `requests`; whenever all that runs waits for `shared` samples, some are given.

        Raises what `Engine.check` raises, before anything is computed.
        """
        for request in requests:
            self._engine.check(request)
        jobs = [
            self._start(request, prompt) for request, prompt in zip(requests, prompts, strict=True)
        ]
        try:
            while waiting := [job for job in jobs if job.unfinished]:
                if shared is not None and not self._engine.has_work:
                    shared.give()
                    for job in waiting:
                        self._engine.resume(job.request_id)
                self._step()
        finally:
            for job in jobs:
                self._finish(job)
        return [job.result for job in jobs]

    def stream(self, request: Request, prompt: Encoded) -> Iterator[str]:
        """The text of the one sample of `request`, piece by piece.

        Raises what `Engine.check` raises at once, and LegatoError where the sample fails later.
        """
        self._engine.check(request)
        return self._pieces(request, prompt)

    def _pieces(self, request: Request, prompt: Encoded) -> Iterator[str]:
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
            job = self._live.get(event.request_id)
            if job is not None and job.take(event):
                self._engine.cancel(event.request_id, event.index)

    def _start(self, request: Request, prompt: Encoded) -> Job:
        job = Job(request, prompt, self._clock.now_ns(), self._new_text)
        self._engine.add(request)
        self._live[request.id] = job
        return job

    def _finish(self, job: Job) -> None:
        """Forget `job`; what still runs of it is cancelled."""
        del self._live[job.request_id]
        self._engine.cancel(job.request_id)


class Job:
    """The result of one request in the making."""

    def __init__(
        self,
        request: Request,
        prompt: Encoded,
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
        self.result.outcome = event.outcome or self.result.outcome
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
