"""Random schedules of the whole engine on a fake backend, with faults anywhere (CASES H1, H3, H5,
H6, H10, H11, H13, H15). `make soak` does the same for longer, `make soak SEED=…` one life again.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from sim.simulation import Simulation
from sim.soak import Life, lives

STEPS = 100_000


@pytest.fixture(scope="module")
def lived() -> list[Life]:
    """Seeds from 0 on, each lived to its end."""
    return list(lives(0, STEPS, len(os.sched_getaffinity(0))))


def test_blocks_add_up_tokens_are_right_and_everything_ends(lived):
    assert not lived[-1].violation, lived[-1].report
    assert sum(life.steps for life in lived) >= STEPS


def test_the_rare_paths_are_taken(lived):
    events = sum((life.events for life in lived), Counter[str]())
    rare = {
        *("preemptions", "copies", "prefix hits", "collisions", "cancelled", "failed"),
        *("operation faults", "backend faults", "line faults", "matcher faults", "no token"),
        *("drafted", "accepted"),
        *("stopped", "out of length", "constrained", "refused", "decided"),
    }
    assert {name for name in rare if events[name] < 20} == set(), events


def test_the_same_seed_gives_the_same_life():
    first, second = Simulation(3), Simulation(3)
    first.run(60)
    second.run(60)
    assert first.story() == second.story() != {}
