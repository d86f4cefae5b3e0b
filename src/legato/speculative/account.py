"""What became of drafts, counted as it happens."""

from __future__ import annotations

from legato.scheduler.stats import PLACES, SpeculationFigures


class DraftAccount:
    """Running totals behind `SpeculationFigures`."""

    def __init__(self) -> None:
        self._drafts = self._drafted = self._accepted = self._drafter_ns = 0
        self._tried, self._right = [0] * PLACES, [0] * PLACES
        self._plain_ns = self._predicted_ns = self._expected_ns = self._earned_ns = 0.0
        self._token_ns = 0.0  # of the step under way
        self._figures: SpeculationFigures | None = None  # until something changes

    def chosen(
        self, plain_ns: float, predicted_ns: float, decodes: int, expected: float = 0.0
    ) -> None:
        """Drafts were chosen for a step of `decodes` sequences, which should take `predicted_ns`
        instead of `plain_ns` and give `expected` tokens more."""
        self._figures = None
        self._token_ns = plain_ns / decodes
        self._plain_ns += plain_ns
        self._predicted_ns += predicted_ns
        self._expected_ns += expected * self._token_ns

    def verified(self, drafted: int, accepted: int) -> None:
        """One of these drafts was verified."""
        self._figures = None
        self._drafts += 1
        self._drafted += drafted
        self._accepted += accepted
        self._earned_ns += accepted * self._token_ns
        for place in range(min(drafted, accepted + 1)):
            at = min(place, PLACES - 1)
            self._tried[at] += 1
            self._right[at] += place < accepted

    def drafting(self, time_ns: int) -> None:
        """Looking for drafts took `time_ns`."""
        self._figures = None
        self._drafter_ns += time_ns

    @property
    def won_ns(self) -> float:
        """What the accepted tokens would have taken without drafts, less what drafts added to the
        steps; by the prediction."""
        return self._earned_ns - (self._predicted_ns - self._plain_ns)

    @property
    def figures(self) -> SpeculationFigures:
        """The totals now; the same object as long as nothing changes."""
        if self._figures is None:
            self._figures = self._counted()
        return self._figures

    def _counted(self) -> SpeculationFigures:
        return SpeculationFigures(
            drafts=self._drafts,
            drafted=self._drafted,
            accepted=self._accepted,
            tried=tuple(self._tried),
            right=tuple(self._right),
            drafter_ns=self._drafter_ns,
            plain_ns=self._plain_ns,
            predicted_ns=self._predicted_ns,
            expected_ns=self._expected_ns,
            earned_ns=self._earned_ns,
        )
