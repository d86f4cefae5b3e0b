"""Options that measurements over HTTP share, and what they become."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from legato.errors import LegatoError

if TYPE_CHECKING:
    from legato.bench.endpoint import Endpoint
    from legato.bench.objectives import Objectives
    from legato.bench.workload import Workload
    from legato.metrics.price import Price

MAX_TRIALS = 1_000  # seeds that one --seed stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """How to ask.

    Attributes:
        api: chat or completions.
        served_model: model name in the requests; the first of /v1/models by default.
        key_variable: environment variable that holds the API key.
        extra: JSON object with further fields of every request, such as '{"ignore_eos": true}'.
        timeout: a request without a complete answer after this many seconds has failed.
        require_done: an answer that does not end with [DONE] has failed, as OpenAI has it.
    """

    api: str = "chat"
    served_model: str = ""
    key_variable: str = "OPENAI_API_KEY"
    extra: str = "{}"
    timeout: float = 120.0
    require_done: bool = True

    def endpoint(self, url: str, paying: PriceOptions | None = None) -> Endpoint:
        """The endpoint at `url`, which costs what `paying` says."""
        from legato.bench.endpoint import Endpoint, first_model

        if self.api not in ("chat", "completions"):
            raise LegatoError(f"--api {self.api}: give chat or completions")
        endpoint = Endpoint(
            url=url,
            chat=self.api == "chat",
            key=os.environ.get(self.key_variable, ""),
            extra=_json_object(self.extra),
            price=None if paying is None else paying.price(),
        )
        return replace(endpoint, model=self.served_model or first_model(endpoint))


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise LegatoError(f"--extra is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise LegatoError("--extra must be a JSON object")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadOptions:
    """What to ask, and when.

    Attributes:
        arrivals: poisson, constant, gamma:CV, closed:USERS, or trace:FILE with a timestamp in
            seconds a line (in a .jsonl file the field timestamp).
        prompt_length: words: N, uniform:LOW-HIGH, lognormal:MEAN,SIGMA or file:JSONL
            (its field prompt_length).
        output_length: tokens, given likewise (field output_length).
        shared_prefix: words of a text that opens every conversation.
        turns: questions in a conversation.
        think: seconds between an answer and the next question.
        seed: makes the stream of requests reproducible.
    """

    arrivals: str = "poisson"
    prompt_length: str = "lognormal:200,0.4"
    output_length: str = "64"
    shared_prefix: int = 0
    turns: int = 1
    think: float = 0.0
    seed: int = 0

    def workload(self, rate: float, trial: int = 0) -> Workload:
        """The stream at `rate` conversations a second.

        Each `trial` has prompts of its own: those of an earlier one would be in a prefix cache.
        """
        from legato.bench.arrivals import parse_arrivals
        from legato.bench.lengths import parse_lengths
        from legato.bench.workload import Workload

        return Workload(
            arrivals=parse_arrivals(self.arrivals, rate),
            prompt_words=parse_lengths(self.prompt_length, "prompt_length"),
            output_tokens=parse_lengths(self.output_length, "output_length"),
            shared_prefix_words=self.shared_prefix,
            turns=self.turns,
            think_s=self.think,
            seed=self.seed * MAX_TRIALS + trial,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveOptions:
    """What a request is promised.

    Attributes:
        ttft_objective: seconds to the first token; with --prefill-profile, seconds on top of the
            unloaded prefill time.
        tbt_objective: seconds between tokens.
        fluid_objective: fluidity-index from which a request counts as fluid.
        share_objective: share of requests that has to be fluid.
        prefill_profile: file that `legato bench prefill --json` wrote.
    """

    ttft_objective: float = 1.0
    tbt_objective: float = 0.05
    fluid_objective: float = 0.9
    share_objective: float = 0.99
    prefill_profile: str = ""

    def objectives(self) -> Objectives:
        """The same for the measuring code."""
        from legato.bench.objectives import Objectives, read_profile

        return Objectives(
            ttft_s=self.ttft_objective,
            tbt_s=self.tbt_objective,
            fluid=self.fluid_objective,
            share=self.share_objective,
            profile=read_profile(Path(self.prefill_profile)) if self.prefill_profile else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceOptions:
    """What it costs, in any one currency.

    Attributes:
        price_per_hour: of the machine.
        watts: power that the machine draws.
        price_per_kwh: of the energy, where the hour does not include it.
        price_in: of a million input tokens of an API.
        price_out: of a million output tokens of an API.
    """

    price_per_hour: float = 0.0
    watts: float = 0.0
    price_per_kwh: float = 0.0
    price_in: float = 0.0
    price_out: float = 0.0

    def price(self) -> Price | None:
        """None where nothing was said."""
        from legato.metrics.price import MachinePrice, PriceList

        machine = MachinePrice(self.price_per_hour, self.watts, self.price_per_kwh)
        if machine.total_per_hour and (self.price_in or self.price_out):
            raise LegatoError("give the price of a machine or --price-in and --price-out, not both")
        if machine.total_per_hour:
            return machine
        if self.price_in or self.price_out:
            return PriceList(self.price_in, self.price_out)
        return None
