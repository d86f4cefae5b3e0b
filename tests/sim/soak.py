"""Many seeded lives of an engine, in several processes: `make soak`, and a short one in the tests.

make soak                   a million steps, from a seed of the day on
make soak STEPS=100000      fewer
make soak SEED=17           one life again, with what was wrong in it
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sim.simulation import Simulation

TURMOIL = 250
"""Steps of a life before it is left in peace."""


@dataclass(frozen=True)
class Life:
    """What came of one seed: `violation` is empty where everything held."""

    seed: int
    steps: int
    events: Counter[str]
    violation: str = ""

    @property
    def report(self) -> str:
        """What was wrong, where, and how to see it again."""
        where = f"seed {self.seed}, step {self.steps}"
        return f"{self.violation}\n{where} breaks an invariant; again: make soak SEED={self.seed}"


def live(seed: int) -> Life:
    """One life to its end, or to the first violation."""
    logging.disable(logging.CRITICAL)  # failed steps are wanted here
    simulation, violation = Simulation(seed), ""
    try:
        simulation.run(TURMOIL)
    except Exception:
        violation = traceback.format_exc()
    finally:
        simulation.injector.disarm()
        logging.disable(logging.NOTSET)
    return Life(seed, simulation.steps, simulation.events(), violation)


def lives(first_seed: int, steps: int, processes: int) -> Iterator[Life]:
    """Lives from `first_seed` on, until they have `steps` in all or one breaks an invariant."""
    done = 0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for life in pool.imap(live, range(first_seed, first_seed + steps), chunksize=4):
            yield life
            done += life.steps
            if life.violation or done >= steps:
                return


def soak(first_seed: int, steps: int, processes: int) -> int:
    """Live and tell of it; the exit status."""
    start, done, events, number = time.monotonic(), 0, Counter[str](), 0
    for number, life in enumerate(lives(first_seed, steps, processes), 1):
        done += life.steps
        events += life.events
        if life.violation:
            print(f"\n{life.report}")
            return 1
        if number % 20 == 0:
            print(f"\r{done:,} of {steps:,} steps", end="", file=sys.stderr, flush=True)
    took = time.monotonic() - start
    print(f"\r{number:,} lives, {done:,} steps in {took:.0f} s ({done / took:,.0f} a second)")
    print(", ".join(f"{name} {amount:,}" for name, amount in sorted(events.items())))
    print(f"all invariants held; seeds {first_seed} to {first_seed + number - 1}")
    return 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Seeded lives of an engine, with faults.")
    parser.add_argument("--steps", type=int, default=1_000_000, help="engine steps in all")
    parser.add_argument("--seed", type=int, help="only this life")
    parser.add_argument("--first", type=int, help="first seed; by default one of the day")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    if given.seed is not None:
        return soak(given.seed, 1, 1)
    first = int(time.time()) // 86_400 * 100_000 if given.first is None else given.first
    return soak(first, given.steps, given.processes)


if __name__ == "__main__":
    sys.exit(main())
