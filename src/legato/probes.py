"""Asking how probable a token is after a sample: a sequence in which no other may be chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from legato.core import Probe, SamplingParams
from legato.scheduler.sequence import Sequence, make_samples

FIRST_PROBE = 1 << 16
"""Index of the first probe of a request: larger than that of any sample."""


@dataclass(frozen=True, slots=True)
class OnlyToken:
    """A constraint under which one token is chosen, whose log-probability is wanted.

    Log-probabilities are those of the model's own distribution, whatever may be chosen.
    """

    token: int

    def start(self) -> OnlyToken:
        """It has no state."""
        return self

    def fill_mask(self, mask: npt.NDArray[np.uint32]) -> None:
        """Allow the token."""
        mask[:] = 0
        mask[self.token // 32] = 1 << self.token % 32

    def accept(self, token: int) -> None:
        """Nothing comes after it."""

    def rollback(self, count: int) -> None:
        """Nothing was accepted."""


def probe_sequence(sample: Sequence, probe: Probe, number: int, due_ns: int) -> Sequence:
    """The sequence of one token that answers `probe`, the request's `number`-th, about `sample`.

    Its prompt is found in the prefix cache as any other is, or computed.
    """
    length = sample.num_prompt + probe.num_output
    prompt = (*sample.tokens[:length].tolist(), *probe.suffix)
    request = replace(
        sample.request,
        prompt=prompt,
        params=SamplingParams(temperature=0.0, max_tokens=1, logprobs=0),
        constraint=OnlyToken(probe.token),
        compute=None,
        draft_tokens=0,
    )
    (sequence,) = make_samples(
        request,
        arrival=0,
        seed=0,
        due_ns=due_ns,
        tbt_ns=sample.tbt_ns,
        length_limit=len(prompt) + 1,
        stop_ids=frozenset(),
    )
    sequence.index = FIRST_PROBE + number
    sequence.rank = (*sample.rank[:3], sequence.index)
    sequence.started_ns = sample.started_ns
    return sequence
