"""The running error of a cost model, and the slow correction that follows from it."""

from __future__ import annotations

import math
from collections import deque
from statistics import median_low

RATE = 1 / 64
"""Weight of the newest step: the correction follows a change within about a hundred steps."""

LARGEST = math.log(4.0)
"""Bound of the whole correction."""

ENOUGH_STEPS = 16
"""A kind of steps is corrected by what was seen of it alone from this many on."""

DRAFT_FACTORS = (0.9, 1.2)
"""Bounds of what is learnt of steps that verify drafts, compared with others."""

MOST_STEPS = 0.9
"""Share of steps that are to end within `Spread.factor` times their prediction."""

SPREAD_STEP = 0.02
"""How far one step may move the logarithm of a `Spread`."""

LARGEST_SPREAD = math.log(1.25)

SURPRISE = 0.15
"""Most by which one step may differ from what was learnt: more is a stall, not a wrong estimate."""

CHANGE_NS = 200_000_000
CHANGE_STEPS = 5
CHANGE_SHARE = 0.9
"""Where this share of the steps of so long a time, and of so many, differ by more than `SURPRISE`
to the same side, it is no stall: the machine has changed."""

MOST_RECENT = 256
"""Steps that are looked back at."""


class Correction:
    """Compares predictions with measured steps.

    The factor is an exponential moving mean of log(measured / predicted): a ratio of two and one
    of a half cancel. A step that differs much counts like one that differs a little (Huber 1964,
    Robust Estimation of a Location Parameter), so that a stall does not mislead it. Where nearly
    all of the last steps differ so, their median is taken instead of what was learnt: a machine
    that others slow down is known for it within a second, and again when they are gone.
    """

    def __init__(self) -> None:
        self._log_ratio = 0.0
        self._recent: deque[tuple[float, int]] = deque(maxlen=MOST_RECENT)
        self._surprise = 0.0  # of the last step
        self.steps = 0
        self.factor = 1.0
        """Multiply a prediction with this; 1 before any step, within [1/4, 4]."""

    def corrected_ns(self, predicted_ns: int) -> int:
        """A prediction with what was learnt so far, at least one."""
        return max(1, round(predicted_ns * self.factor))

    def observe(self, predicted_ns: int, measured_ns: int) -> None:
        """A step was predicted, before correction, and took `measured_ns`; both positive."""
        ratio = math.log(measured_ns / predicted_ns)
        surprise = max(-SURPRISE, min(SURPRISE, ratio - self._log_ratio))
        self.steps += 1
        self._recent.append((ratio, measured_ns))
        rate = max(RATE, 1 / self.steps)  # a plain mean of the first steps, then a moving one
        again = abs(surprise) == SURPRISE and surprise == self._surprise  # a stall comes alone
        change = self._change() if again else 0.0
        self._surprise = surprise
        moved = change or rate * surprise
        self._log_ratio = max(-LARGEST, min(LARGEST, self._log_ratio + moved))
        self.factor = math.exp(self._log_ratio)

    def _change(self) -> float:
        """By how much the last steps differ from what was learnt, if nearly all of them do."""
        surprises, took_ns = [], 0
        for ratio, measured_ns in reversed(self._recent):
            surprises.append(ratio - self._log_ratio)
            took_ns += measured_ns
            if took_ns >= CHANGE_NS and len(surprises) >= CHANGE_STEPS:
                break
        else:
            return 0.0
        middle = median_low(surprises)
        differ = sum(abs(s) > SURPRISE and (s > 0) == (middle > 0) for s in surprises)
        return middle if differ >= CHANGE_SHARE * len(surprises) else 0.0


class CorrectionByKind:
    """Steps with prompt rows and steps of decodes alone are mispredicted differently.

    A kind of which few steps were seen is corrected like all of them.
    """

    def __init__(self) -> None:
        self.overall = Correction()
        self.error = 0.0
        """Running mean of |corrected prediction / measured − 1|, each at most 3."""
        self._kinds = (Correction(), Correction())

    def factor(self, has_prompts: bool) -> float:
        """Multiply the prediction of such a step with this."""
        own = self._kinds[has_prompts]
        return own.factor if own.steps >= ENOUGH_STEPS else self.overall.factor

    def corrected_ns(self, has_prompts: bool, predicted_ns: int) -> int:
        """The prediction of such a step with what was learnt so far, at least one."""
        return max(1, round(predicted_ns * self.factor(has_prompts)))

    def observe(
        self, has_prompts: bool, predicted_ns: int, measured_ns: int, rest: float = 1.0
    ) -> None:
        """Such a step was predicted, before correction, and took `measured_ns`. `rest` is what
        else was known of it (see `DraftCorrection`)."""
        factor = self.factor(has_prompts) * rest
        error = min(3.0, abs(predicted_ns * factor / measured_ns - 1))
        self.error += max(RATE, 1 / (self.overall.steps + 1)) * (error - self.error)
        self.overall.observe(predicted_ns, measured_ns)
        self._kinds[has_prompts].observe(predicted_ns, measured_ns)


class DraftCorrection:
    """What steps without prompts take beside the correction that all of them share: those that
    verify drafts, and the others. Learnt from the first draft on.

    The shared correction is somewhere between the two, and follows a machine that drifts also
    while steps of one sort alone come; so what is left of their errors tells them apart.
    """

    def __init__(self) -> None:
        self._compares = False
        self._rests = (Correction(), Correction())

    @property
    def plain(self) -> float:
        """Multiply the corrected prediction of a step without drafts with this."""
        return self._rest(False)

    @property
    def widened(self) -> float:
        """How much longer steps with drafts take, against the same prediction without.

        Bounded, so that a wrong one cannot stop drafting for ever.
        """
        least, most = DRAFT_FACTORS
        return max(least, min(most, self._rest(True) / self._rest(False)))

    def factor(self, verifies: bool) -> float:
        """Of a step that verifies drafts, or not."""
        return self.plain * self.widened if verifies else self.plain

    def observe(self, verifies: bool, corrected_ns: int, measured_ns: int) -> None:
        """Such a step took `measured_ns`; `corrected_ns` is with the shared correction alone."""
        self._compares = self._compares or verifies
        if self._compares:
            self._rests[verifies].observe(corrected_ns, measured_ns)

    def _rest(self, verifies: bool) -> float:
        own = self._rests[verifies]
        return own.factor if own.steps >= ENOUGH_STEPS else 1.0


class Spread:
    """An upper quantile of measured / predicted: a deadline wants more than the mean.

    Stochastic approximation (Robbins and Monro 1951, A Stochastic Approximation Method): a step
    that takes longer raises the quantile, one that does not lowers it by so much less that both
    balance where `MOST_STEPS` of the steps are within it. How much longer does not matter.
    """

    def __init__(self) -> None:
        self._log = 0.0
        self.factor = 1.0
        """Multiply a corrected prediction with this; 1 before any step, within [1, 1.25]."""

    def observe(self, predicted_ns: int, measured_ns: int) -> None:
        """A step was predicted, corrected, and took `measured_ns`; both positive."""
        is_late = measured_ns > predicted_ns * self.factor
        moved = self._log + SPREAD_STEP * (is_late - (1 - MOST_STEPS))
        self._log = max(0.0, min(LARGEST_SPREAD, moved))
        self.factor = math.exp(self._log)
