"""Whether the confidence that clients are told is right on average, where a file of true labels is named.

A confidence above the share of right answers tells more than the model knows, and members of the training data stand out by it.
The expected calibration error is that of Naeini et al. (AAAI 2015), over ten bins of equal width. Without true labels
nothing is said: a log does not show what was right.
"""

import math
from collections.abc import Iterator
from typing import Final

from detector.audit.check import Check
from detector.audit.known import Known
from detector.audit.result import Clear, Finding, Result, Unjudged
from detector.audit.seen import Seen

__all__ = ["Calibration"]

BINS: Final = 10
LEAST: Final = 100  # answers with a true label
OVER: Final = 0.02  # confidence above accuracy that is worth naming
_CONTROLS: Final = ("AISVS v1.0-C11.2.3",)
_NAME, _TITLE = "answers.calibration", "Answers are surer than they are right"


class Calibration(Check):
    """Compares the confidence that was told with how often the label was right."""

    def __init__(self, known: Known) -> None:
        """Begin with nothing seen."""
        super().__init__(known)
        self._count = [0] * BINS
        self._right = [0] * BINS
        self._sure = [0.0] * BINS

    def take(self, seen: Seen) -> None:
        """Compare an answer with its true label."""
        truth = self.known.truth
        if truth is None or not seen.answered or seen.highest is None:
            return
        true = truth.get(seen.event.event_id)
        probabilities = seen.event.output.probabilities
        if true is None or probabilities is None:
            return
        label = seen.event.output.label
        told = probabilities.index(seen.highest) if label is None else label
        place = min(int(max(seen.highest, 0.0) * BINS), BINS - 1)
        self._count[place] += 1
        self._right[place] += str(told) == true
        self._sure[place] += seen.highest

    def results(self) -> Iterator[Result]:
        """Say how far confidence and truth are apart."""
        if self.known.truth is None:
            yield Unjudged(
                _NAME, _TITLE, _CONTROLS, "a log does not say what was right: name the true labels with --truth FILE"
            )
            return
        total = sum(self._count)
        if total < LEAST:
            why = f"{total:,} answers with probabilities have a true label, at least {LEAST} are needed"
            yield Unjudged(_NAME, _TITLE, _CONTROLS, why)
            return
        error = sum(abs(sure - right) for sure, right in zip(self._sure, self._right, strict=True)) / total
        right, sure = sum(self._right) / total, sum(self._sure) / total
        doubt = math.sqrt(max(right * (1.0 - right), 1.0 / total) / total)
        figures = {
            "answers": total,
            "accuracy": round(right, 4),
            "confidence": round(sure, 4),
            "expected_calibration_error": round(error, 4),
            "standard_error": round(doubt, 4),
        }
        seen = f"{total:,} answers: right {right:.1%}, mean confidence {sure:.1%}, expected calibration error {error:.3f}"
        if sure - right <= max(OVER, 3.0 * doubt):
            yield Clear(_NAME, _TITLE, _CONTROLS, seen, figures)
            return
        yield Finding(
            _NAME,
            _TITLE,
            _CONTROLS,
            "medium" if sure - right > 0.1 else "low",
            f"the confidence is {100 * (sure - right):.1f} points above the share of right answers, more than three standard "
            "errors",
            seen,
            "calibrate the model's outputs (temperature scaling on held-out examples), or tell labels only",
            figures,
        )
