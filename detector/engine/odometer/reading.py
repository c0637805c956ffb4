"""Readings: what a copy's agreement with the model means.

The unit is the *lead*: how far the copy is from the best guess to the model itself, 0 to 1. It is an estimate of a copy that a
thief could have trained on the same responses. A thief with data or patience beyond these has more.
"""

import math

from detector.engine.findings import Reading

__all__ = ["CERTAINTY", "COPY_ERROR", "TABLE_COPY_ERROR", "Reading", "lead_of", "reading"]

CERTAINTY = 1.96  # standard deviations to each side that hold 95% of all errors
LEADS = (0.5, 0.65, 0.8)  # that holders are counted at
COPY_ERROR, TABLE_COPY_ERROR = 0.12, 0.22  # root mean square error of the lead against a well-trained copy


def lead_of(agreement: float, guess: float) -> float:
    """Return the lead of a copy with this agreement, where the best guess agrees with a share `guess`.

    >>> lead_of(0.9, 0.8), lead_of(0.7, 0.8), lead_of(1.0, 1.0)
    (0.5, 0.0, 0.0)
    """
    if guess >= 1.0:
        return 0.0
    return round(min(max((agreement - guess) / (1.0 - guess), 0.0), 1.0), 6)


def reading(queries: int, agreement: float, guess: float, inputs: int, *, table: bool) -> Reading:
    """Return the reading of a copy that was judged by so many reference inputs.

    The interval covers the luck of which inputs are in the reference set, and the error of a small copy, which is larger in a
    `table`.
    """
    lead = lead_of(agreement, guess)
    share = (agreement * inputs + 1.0) / (inputs + 2.0)  # never quite 0 or 1, where the luck would seem to be none
    luck = math.sqrt(share * (1.0 - share) / inputs) / max(1.0 - guess, 1.0 / inputs)
    away = CERTAINTY * math.hypot(luck, TABLE_COPY_ERROR if table else COPY_ERROR)
    return Reading(queries, agreement, lead, max(lead - away, 0.0), min(lead + away, 1.0))
