"""What a tree of drafts could add to a chain: a second guess beside the first.

    python benchmarks/tree_drafts.py [--drafter recall] [--texts FILE]

At every place of the model's answers to the speculation workloads (kept in FILE, see
`simulated_speculation.py`) the drafter proposes a chain. Where the chain first goes wrong, the
second guess for that place is taken: the newest other follower of the last two tokens in the text,
then of the last one, then of the table of followers. Steps take what this machine's profile says
of one text alone. For each class of the first token (how well founded it is) the best chain is
compared with the best chain and one sibling, at the rates of that class: an upper bound, for the
rates are known beforehand, and masks and moves of keys and values for a tree are taken to be free.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from legato.assemble import build_model_program, known_followers
from legato.cli.calibrate import known_profile
from legato.config import EngineConfig
from legato.cost.estimate import StepCost
from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model
from legato.models.load import load_model
from legato.program.ops import StepShape
from legato.speculative.draft import Drafter
from legato.speculative.ngrams import ORDER, NGramTable
from legato.speculative.recall import RecallDrafter
from legato.speculative.suffix import SuffixDrafter
from simulated_speculation import Answered, known_answers, workloads_of

DEEPEST = 8
PAST = 250
"""Cached tokens of the steps that are priced."""

RowTime = Callable[[int], float]


@dataclass
class Rates:
    """Over some proposals: how often a chain reached each place, and a second guess was right
    where the first was wrong."""

    count: int = 0
    right: list[int] = field(default_factory=lambda: [0] * DEEPEST)
    wrong: list[int] = field(default_factory=lambda: [0] * DEEPEST)
    second: list[int] = field(default_factory=lambda: [0] * DEEPEST)

    def chain(self, step_ns: RowTime) -> tuple[float, float]:
        """(tokens, time) of the best chain."""
        return max(self._chains(step_ns), key=lambda best: best[0] / best[1])

    def tree(self, step_ns: RowTime) -> tuple[float, float]:
        """(tokens, time) of the best chain with or without one sibling."""
        choices = list(self._chains(step_ns))
        for depth in range(1, DEEPEST + 1):
            tokens = 1 + sum(self.right[:depth]) / self.count
            added = max(self.second[:depth]) / self.count
            choices.append((tokens + added, step_ns(depth + 1)))
        return max(choices, key=lambda best: best[0] / best[1])

    def _chains(self, step_ns: RowTime) -> Iterator[tuple[float, float]]:
        for depth in range(DEEPEST + 1):
            yield 1 + sum(self.right[:depth]) / self.count, step_ns(depth)


class SecondGuess:
    """Followers in a growing text, newest first, and those of a table."""

    def __init__(self, table: NGramTable) -> None:
        self._table = table
        self._text: list[int] = []
        self._places: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)

    def extend(self, tokens: Sequence[int]) -> None:
        """The text goes on with `tokens`."""
        for token in tokens:
            size = len(self._text)
            for length in (1, 2):
                if size >= length:
                    self._places[tuple(self._text[-length:])].append(size)
            self._text.append(token)

    def candidates(self) -> list[int]:
        """The best tokens to come next, two at most."""
        places = [p for n in (2, 1) for p in reversed(self._places[tuple(self._text[-n:])])]
        followers = [self._text[place] for place in places]
        if (found := self._table.follower(self._text[-ORDER:])) is not None:
            followers.append(found.token)
        return list(dict.fromkeys(followers))[:2]


def rates_of(answered: Sequence[Answered], drafter: Drafter, table: NGramTable) -> dict[int, Rates]:
    """By class of a proposal's first token."""
    found: defaultdict[int, Rates] = defaultdict(Rates)
    for one in answered:
        draft = drafter.open("")
        draft.extend(one.prompt)
        others = candidates_of(one, table)
        for place in range(len(one.answer)):
            if tokens := draft.propose(DEEPEST):
                own = found[draft.confidences[0]]
                note(own, tokens, one.answer[place:], others[place:])
            draft.extend(one.answer[place : place + 1])
    return found


def candidates_of(one: Answered, table: NGramTable) -> list[list[int]]:
    """For each place of the answer."""
    guess = SecondGuess(table)
    guess.extend(one.prompt)
    found = []
    for token in one.answer:
        found.append(guess.candidates())
        guess.extend([token])
    return found


def note(
    rates: Rates, tokens: Sequence[int], answer: Sequence[int], others: Sequence[list[int]]
) -> None:
    """A chain was proposed where the text goes on with `answer`."""
    rates.count += 1
    for place, (token, truth) in enumerate(zip(tokens, answer, strict=False)):
        if token == truth:
            rates.right[place] += 1
            continue
        rates.wrong[place] += 1
        second = next((other for other in others[place] if other != token), -1)
        rates.second[place] += second == truth
        return


def gain_of_trees(rates: Mapping[int, Rates], step_ns: RowTime) -> float:
    """Tokens a second with the best tree of each class over those with the best chain."""
    speeds = []
    for best in (Rates.chain, Rates.tree):
        steps = [(own.count, *best(own, step_ns)) for own in rates.values()]
        speeds.append(sum(n * t for n, t, _ in steps) / sum(n * ns for n, _, ns in steps))
    return speeds[1] / speeds[0]


def main() -> None:
    """A line for each workload: how often second guesses are right, and what a tree would add."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--drafter", choices=["recall", "suffix"], default="recall")
    parser.add_argument("--output", type=int, default=128)
    parser.add_argument("--texts", type=Path)
    chosen = parser.parse_args()
    config = EngineConfig()
    model = load_model(resolve_model(chosen.model))
    program = build_model_program(model, config)
    cost = StepCost(program, known_profile(program, config))
    recall = chosen.drafter == "recall"
    table = known_followers(model) if recall else NGramTable()
    drafter = RecallDrafter(table) if recall else SuffixDrafter()

    def step_ns(drafted: int) -> float:
        return cost.predict_ns(StepShape(((1 + drafted, PAST),), 1 + drafted))

    print("rows cost", [round(step_ns(rows) / step_ns(0), 2) for rows in range(DEEPEST + 1)])
    found = []
    for name, answered in workloads_of(known_answers(chosen)).items():
        rates = rates_of(answered, drafter, table)
        wrong, second = ([sum(x) for x in zip(*c, strict=True)] for c in columns_of(rates))
        shares = [round(s / w, 2) for s, w in zip(second, wrong, strict=True) if w]
        gain = round(gain_of_trees(rates, step_ns), 3)
        print(f"{name:16} right where the first was wrong {shares}, gain of trees {gain}")
        found.append({"workload": name, "second_right": shares, "gain": gain})
    print(json.dumps(found))


def columns_of(rates: Mapping[int, Rates]) -> tuple[list[list[int]], list[list[int]]]:
    """Wrong first guesses and right second ones of each class, by place."""
    return [own.wrong for own in rates.values()], [own.second for own in rates.values()]


if __name__ == "__main__":
    main()
