"""Arrays for the decisions on events, before there are any."""

import numpy as np

from detector.engine.memory.admission import Admitted


def unadmitted(events: int) -> Admitted:
    """Return arrays, all zero, for the decisions on so many events."""
    return Admitted(
        np.empty(events, np.uint8), np.zeros(events, np.int64), np.zeros(events, np.bool_), np.zeros(events, np.bool_)
    )
