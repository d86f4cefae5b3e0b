"""Samples for the tests of strategies."""

from legato.adaptive.samples import Sample


def answered(*answers: str | None) -> list[Sample]:
    """One finished sample for each answer."""
    return [Sample(index=i, answer=answer, tokens=10) for i, answer in enumerate(answers)]


def likely(*logprobs: float | None) -> list[Sample]:
    """One finished sample for each mean log-probability."""
    return [Sample(index=i, mean_logprob=value, tokens=10) for i, value in enumerate(logprobs)]


def evaluated(*scores: float | None) -> list[Sample]:
    """One finished sample for each self-evaluation."""
    return [Sample(index=i, self_evaluation=value, tokens=10) for i, value in enumerate(scores)]
