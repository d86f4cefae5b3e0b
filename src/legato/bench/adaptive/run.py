"""A whole comparison: samples are drawn, and strategies run through the engine, in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from legato.adaptive.settings import ComputeSettings, StrategyName
from legato.bench.adaptive.asking import Asked, Asker, Run
from legato.bench.adaptive.document import Document, Plan, make_document
from legato.bench.adaptive.questions import QuestionSet
from legato.bench.adaptive.replay import SINGLE, Answered, baseline
from legato.errors import LegatoError

LIVE = "adaptive consistency, C = 0.95"
PRUNE_EVERY = 4  # tokens
TURN = 96  # questions


def select_questions(sets: Sequence[QuestionSet], most: int | None) -> list[Asked]:
    """At most `most` questions, one of each set in turn, so that a part is like the whole."""
    columns = [[Asked(each, question) for question in each.questions] for each in sets]
    mixed = [asked for row in zip_longest(*columns) for asked in row if asked is not None]
    return mixed[:most]


def compare_strategies(
    asker: Asker,
    asked: Sequence[Asked],
    plan: Plan,
    on_start: Callable[[int], None],
    on_done: Callable[[], None],
) -> Document:
    """The document of a comparison.

    Args:
        asker: where samples come from.
        asked: questions, at least one.
        plan: what is compared.
        on_start: called with how often a question will be asked in all.
        on_done: called each time that one was.

    All runs take turns, `TURN` questions each, so that a machine that drifts favours none. Where
    the asker is stopped, the document is of the turns that all runs finished; in the first turn,
    of the questions that have all their samples. Raises LegatoError where there are none.
    """
    settings = live_settings(plan) if plan.live else {}
    on_start(len(asked) * (1 + len(settings)))
    turns = _Turns({name: Run() for name in settings})
    for first in range(0, len(asked), TURN):
        turn = asked[first : first + TURN]
        samples, drawn = asker.draw(
            turn, plan.max_samples, self_evaluation=plan.self_evaluation, on_done=on_done
        )
        live = {name: asker.ask(turn, each, on_done) for name, each in settings.items()}
        if not turns.add(samples, drawn, live):
            break
    if not turns.answered:
        raise LegatoError("no question has all its samples; nothing can be compared")
    return make_document(turns.answered, turns.drawn, turns.live, plan)


@dataclass(slots=True)
class _Turns:
    """What the turns so far gave: questions with all their samples, and the runs of the same."""

    live: dict[str, Run]
    answered: list[Answered] = field(default_factory=list)
    drawn: Run = field(default_factory=Run)

    def add(self, samples: list[Answered], drawn: Run, live: Mapping[str, Run]) -> bool:
        """Add a turn; False where it was interrupted. Of such a one only the first counts."""
        whole = {name: run for name, run in live.items() if not run.interrupted}
        if not drawn.interrupted and len(whole) == len(live):
            count = len(self.answered)
            self.answered += samples
            self.drawn.extend(drawn, count)
            for name, run in live.items():
                self.live[name].extend(run, count)
            return True
        if not self.answered:
            self.answered, self.drawn, self.live = samples, drawn, whole
        self.drawn.interrupted = True
        return False


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
