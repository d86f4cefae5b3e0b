"""The load of `speculation_load.py` in virtual time: what drafts do to it, machine noise aside.

    python benchmarks/simulated_speculation.py [--drafter recall] [--shares 0.5 0.8] [--seeds 8]
        [--fresh] [--noise 0] [--asking 80] [--texts FILE] [--batches 1 2 4]

The model writes its answers to all speculation workloads once (kept in FILE). Then the engine
serves them to Poisson arrivals with a backend that looks each token up, and every step takes what
the machine's profile predicts, times a lognormal error of each step (`noise`). Drafters see real
texts, so that drafts are right as often as they really are; looking for them takes `asking`
microseconds whenever a step does.
`--fresh` computes every prompt; without it they are in the prefix cache but for their last block.
With `--batches` there are no arrivals, but so many texts of one workload at a time (when one is
done the next begins), and a line for each: how long all take without drafts, over the same with
them.
Virtual time: equal options give equal figures. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from collections.abc import Sequence as List
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice, product
from pathlib import Path

import numpy as np

from legato.assemble import build_model_program, known_followers
from legato.backends.base import StepInput, StepOutput
from legato.backends.simulated import Price, SimulatedBackend
from legato.bench.speculate import TURNOVER, load_workloads
from legato.cli.calibrate import known_profile
from legato.clock import VirtualClock
from legato.config import EngineConfig
from legato.core import SamplingParams
from legato.cost.estimate import StepCost
from legato.cost.machine import MachineProfile
from legato.engine import Engine
from legato.kvcache.sizing import resolve_sizes
from legato.llm import LLM
from legato.models.catalogue import DEFAULT_MODEL
from legato.models.hub import resolve_model
from legato.models.load import load_model
from legato.program.program import Program
from legato.scheduler.budget import StepBudget
from legato.scheduler.drafts import Speculator
from legato.scheduler.sequence import Sequence
from legato.speculative.make import make_speculator
from legato.speculative.ngrams import NGramTable
from legato.speculative.rota import QUESTION_NS
from legato.speculative.settings import parse_speculation
from legato.text.tokenizer import load_tokenizer
from simulated_load import MEMORY_BYTES, NoisySteps
from speculation_load import Prompt, Served, arrivals_at, figures_of, print_figures, serve

Propose = Callable[[dict[Sequence, int], StepBudget], dict[Sequence, List[int]]]


@dataclass(frozen=True, slots=True)
class Answered:
    """A prompt of a workload and the tokens that the model answers with, greedily."""

    workload: str
    prompt: Prompt
    answer: tuple[int, ...]


class RecordedBackend(SimulatedBackend):
    """Chooses what the answer of the request with that seed has at each position, else 0."""

    def __init__(
        self, vocab_size: int, answered: list[Answered], price: Price, clock: VirtualClock
    ) -> None:
        super().__init__(vocab_size, price, clock)
        self._texts = [np.array(one.prompt + one.answer, np.int32) for one in answered]

    def run(self, step: StepInput) -> StepOutput:
        """See `Backend`."""
        output = super().run(step)
        if step.sampling is None:
            return output
        places = zip(step.sampling.seed.tolist(), step.sampling.position.tolist(), strict=True)
        texts = self._texts
        tokens = [texts[s][p] if p < len(texts[s]) else 0 for s, p in places]
        return replace(output, token_ids=np.array(tokens, np.int32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is served, on what."""

    program: Program
    profile: MachineProfile
    config: EngineConfig
    followers: NGramTable
    eos_ids: frozenset[int]
    answered: list[Answered]
    output: int
    noise: float
    asking_us: float

    def serve(self, drafter: str, arrivals: list[float], seed: int) -> Served:
        """Serve it once, with prompts in the cache if the engine keeps them."""
        clock = VirtualClock()
        cost = StepCost(self.program, self.profile)
        price = NoisySteps(cost, self.noise, seed) if self.noise else cost.predict_ns
        engine = Engine(
            self.program,
            RecordedBackend(self.program.vocab_size, self.answered, price, clock),
            self.config,
            clock,
            self.eos_ids,
            profile=self.profile,
            speculator=self._speculator(drafter, clock),
        )
        prompts = [one.prompt for one in self.answered]
        if self.config.prefix_cache:
            serve(engine, clock, prompts, [0.0] * len(prompts), self.output, clock.advance)
        served = serve(engine, clock, prompts, arrivals, self.output, clock.advance)
        for number, one in enumerate(self.answered):
            assert served.texts[str(number)] == list(one.answer[: self.output])
        return served

    def _speculator(self, drafter: str, clock: VirtualClock) -> Speculator | None:
        followers = self.followers
        made = make_speculator(parse_speculation(drafter), clock, lambda: followers)
        if made is not None:
            made.propose = asking(made.propose, clock, round(1000 * self.asking_us))  # type: ignore[assignment]
        return made


def asking(propose: Propose, clock: VirtualClock, takes_ns: int) -> Propose:
    """`propose`, which takes some time."""

    def timed(limits: dict[Sequence, int], budget: StepBudget) -> dict[Sequence, List[int]]:
        clock.advance(takes_ns)
        return propose(limits, budget)

    return timed


def main() -> None:
    """Serve, print a line for each share and drafter, and end with one JSON document."""
    chosen = parse_arguments()
    load = make_load(chosen)
    if chosen.batches:
        compare_workloads(load, chosen.drafter, chosen.batches)
        return
    count = len(load.answered)
    capacity = count / load.serve("off", [0.0] * count, 0).seconds
    found = []
    for share in chosen.shares:
        arrivals = [arrivals_at(share * capacity, count, seed) for seed in range(chosen.seeds)]
        for name in ("off", *chosen.drafter):
            runs = [load.serve(name, times, seed) for seed, times in enumerate(arrivals)]
            figures = figures_of(runs)
            print_figures(f"{share:.2f} {name}", figures)
            found.append({"share": share, "drafter": name, **asdict(figures)})
    print(json.dumps({"requests_per_s": capacity, "runs": found}))


def compare_workloads(load: Load, drafters: list[str], batches: list[int]) -> None:
    """A line for each drafter and number of texts at a time."""
    found = []
    for drafter, batch in product(drafters, batches):
        config = replace(load.config, max_sequences=batch)
        gains = {}
        for name, members in workloads_of(load.answered).items():
            answered = list(islice(cycle(members), max(TURNOVER * batch, len(members))))
            own = replace(load, answered=answered, config=config)
            arrivals = [0.0] * len(answered)
            plain, drafted = (own.serve(each, arrivals, 0).seconds for each in ("off", drafter))
            gains[name] = round(plain / drafted, 3)
        print(drafter, batch, gains, flush=True)
        found.append({"drafter": drafter, "batch": batch, **gains})
    print(json.dumps(found))


def workloads_of(answered: list[Answered]) -> dict[str, list[Answered]]:
    """The distinct ones of each workload."""
    found: dict[str, list[Answered]] = {}
    for one in dict.fromkeys(answered):
        found.setdefault(one.workload, []).append(one)
    return found


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--drafter", nargs="+", default=["recall"])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.8])
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--output", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--asking", type=float, default=QUESTION_NS / 1000, help="microseconds")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--fresh", action="store_true", help="no prefix cache")
    parser.add_argument("--texts", type=Path, help="where the model's answers are kept")
    return parser.parse_args()


def make_load(chosen: argparse.Namespace) -> Load:
    """What `chosen` says, on the profile of this machine."""
    model = load_model(resolve_model(chosen.model))
    config = EngineConfig(prefix_cache=not chosen.fresh)
    program = build_model_program(model, config)
    answered = known_answers(chosen)
    order = list(range(len(answered)))
    random.Random(1).shuffle(order)
    return Load(
        program=program,
        profile=known_profile(program, config),
        config=resolve_sizes(config, program.kv, model.arch.max_context, MEMORY_BYTES),
        followers=known_followers(model),
        eos_ids=frozenset(load_tokenizer(model.tokenizer).eos_ids),
        answered=[answered[i] for i in islice(cycle(order), chosen.requests)],
        output=chosen.output,
        noise=chosen.noise,
        asking_us=chosen.asking,
    )


def known_answers(chosen: argparse.Namespace) -> list[Answered]:
    """The answers in `--texts`; where there are none the model writes them."""
    if chosen.texts is not None and chosen.texts.exists():
        kept = json.loads(chosen.texts.read_text())
        return [Answered(name, tuple(prompt), tuple(answer)) for name, prompt, answer in kept]
    answered = answer_all(resolve_model(chosen.model), chosen.output)
    if chosen.texts is not None:
        chosen.texts.write_text(json.dumps([(a.workload, a.prompt, a.answer) for a in answered]))
    return answered


def answer_all(path: Path, output: int) -> list[Answered]:
    """Greedy answers of at most `output` tokens to all conversations of the workloads."""
    asked = [(w.name, conversation) for w in load_workloads() for conversation in w.conversations]
    with LLM.from_config(path, EngineConfig()) as llm:
        prompts = [tuple(llm.encode_chat(conversation)) for _, conversation in asked]
        results = llm.generate(prompts, SamplingParams(temperature=0.0, max_tokens=output))
    answers = (tuple(result.outputs[0].token_ids) for result in results)
    return list(map(Answered, (name for name, _ in asked), prompts, answers))


if __name__ == "__main__":
    main()
