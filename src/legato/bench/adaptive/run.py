"""A whole comparison: draw samples, then run some strategies through the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

from legato.adaptive.settings import ComputeSettings, StrategyName
from legato.bench.adaptive.asking import Asked, Asker, Run
from legato.bench.adaptive.document import Document, Plan, make_document
from legato.bench.adaptive.questions import QuestionSet
from legato.bench.adaptive.replay import SINGLE, baseline
from legato.errors import LegatoError

LIVE = "adaptive consistency, C = 0.95"
PRUNE_EVERY = 4  # tokens


def select_questions(sets: Sequence[QuestionSet], most: int | None) -> list[Asked]:
    """At most `most` questions, one of each set in turn, so that a part is like the whole."""
    columns = [[Asked(each, question) for question in each.questions] for each in sets]
    mixed = [asked for row in zip_longest(*columns) for asked in row if asked is not None]
    return mixed[:most]


def compare_strategies(
    asker: Asker,
    asked: Sequence[Asked],
    plan: Plan,
    on_phase: Callable[[str, int], None],
    on_done: Callable[[], None],
) -> Document:
    """The document of a comparison.

    Args:
        asker: where samples come from.
        asked: questions, at least one.
        plan: what is compared.
        on_phase: called with the name of each phase and how many questions it has.
        on_done: called after each question of a phase.

    Where the asker is stopped, the document is of the questions that have all their samples.
    Raises LegatoError where there are none.
    """
    on_phase("all samples", len(asked))
    answered, drawn = asker.draw(
        asked, plan.max_samples, self_evaluation=plan.self_evaluation, on_done=on_done
    )
    if not answered:
        raise LegatoError("no question has all its samples; nothing can be compared")
    live: dict[str, Run] = {}
    if plan.live and not drawn.interrupted:
        for name, settings in live_settings(plan).items():
            on_phase(name, len(asked))
            live[name] = asker.ask(asked, settings, on_done)
            if live[name].interrupted:
                break
    return make_document(answered, drawn, live, plan)


def live_settings(plan: Plan) -> dict[str, ComputeSettings]:
    """Strategies that are run through the engine. The rule to read answers by is the set's.

    Drawing all samples is a run of the baseline, unless the model is asked about each of them.
    """
    votes, most = StrategyName.SELF_CONSISTENCY, plan.max_samples
    fixed = ComputeSettings(strategy=votes, max_samples=most, answer="text")
    return {
        **({baseline(most).name: fixed} if plan.self_evaluation else {}),
        SINGLE: ComputeSettings(strategy=votes, max_samples=1, answer="text"),
        LIVE: ComputeSettings(confidence=0.95, max_samples=most, answer="text"),
        f"best of {most}, pruned": ComputeSettings(
            strategy=StrategyName.BEST_OF_N,
            max_samples=most,
            answer="text",
            prune_every=PRUNE_EVERY,
        ),
    }
