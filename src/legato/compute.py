"""From settings to how much compute a request gets, with a model's own tokens and texts."""

from __future__ import annotations

from functools import partial

from legato.adaptive.budget import Budget
from legato.adaptive.controller import AdaptiveCompute
from legato.adaptive.settings import ComputeSettings
from legato.completion import SampleText
from legato.core import SamplingParams
from legato.errors import InvalidRequestError
from legato.text.prompt import Renderer, follow_up
from legato.text.tokenizer import Tokenizer

NS_PER_MS = 1_000_000

Question = tuple[tuple[int, ...], int]


def make_compute(
    settings: ComputeSettings,
    tokenizer: Tokenizer,
    params: SamplingParams,
    *,
    template: Renderer | None,
    price_per_hour: float | None,
) -> AdaptiveCompute:
    """What `settings` mean for a request with `params`.

    Args:
        settings: what was asked for.
        tokenizer: reads and writes the model's tokens.
        params: of the request; its stop strings end samples.
        template: turns the question of a self-evaluation into a turn of the chat; None asks it
            as text that goes on.
        price_per_hour: of the machine; None where it has none.

    Raises InvalidRequestError for a price in the budget where the machine has none, and for
    several samples at temperature 0, which are all the same.
    """
    strategy = settings.make_strategy()
    if params.greedy and strategy.max_samples > 1:
        raise InvalidRequestError(
            "temperature is 0, where all samples are the same; compute needs more", "temperature"
        )
    asks = strategy.needs_self_evaluation
    return AdaptiveCompute(
        strategy=strategy,
        new_text=partial(SampleText, tokenizer, params),
        rule=settings.make_answer_rule(),
        pruning=settings.make_pruning(),
        budget=_budget(settings, price_per_hour),
        question=_question(settings, tokenizer, template) if asks else None,
    )


def _budget(settings: ComputeSettings, price_per_hour: float | None) -> Budget:
    price, elapsed_ms = settings.budget_price, settings.budget_ms
    if price is not None and not price_per_hour:
        raise InvalidRequestError(
            "compute.budget_price needs the price of the machine, which is not known here "
            "(--price-per-hour)",
            "compute.budget_price",
        )
    return Budget(
        tokens=settings.budget_tokens,
        elapsed_ns=None if elapsed_ms is None else round(elapsed_ms * NS_PER_MS),
        machine_ns=_machine_ns(price, price_per_hour) if price and price_per_hour else None,
    )


def _machine_ns(price: float, per_hour: float) -> int:
    return round(min(price / per_hour, 1e6) * 3_600_000_000_000)


def _question(
    settings: ComputeSettings, tokenizer: Tokenizer, template: Renderer | None
) -> Question:
    suffix = follow_up(tokenizer, template, settings.question)
    reply = tokenizer.encode(settings.reply, add_special_tokens=False, parse_special=False)
    if not reply:
        raise InvalidRequestError("compute.reply has no tokens", "compute.reply")
    return suffix, reply[0]
