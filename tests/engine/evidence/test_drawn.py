"""How well the values of a record fit together."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.cooccur import BINS
from detector.engine.evidence.drawn import SCALING, VIEWS, Drawn, fit_together, none_drawn, record_views

PARENT = np.array([-1, 0, 0, 2], np.int32)


def belonging() -> npt.NDArray[np.float32]:
    """Equal bins belong together; all others do not."""
    return np.stack([np.where(np.eye(BINS, dtype=bool), 1.0, -0.5)] * len(PARENT)).astype(np.float32)


@pytest.mark.parametrize(
    ("bins", "fit"),
    [
        ((1, 1, 1, 1), 3.0),
        ((1, 2, 1, 1), 2.0),  # one odd column costs what would have spoken for the record, and nothing more
        ((2, 1, 1, 1), 1.0),  # however many depend on it
        ((1, 2, 3, 4), -0.5),  # the third column is in two of the pairs that fit badly, and both are left out
    ],
)
def test_what_fits_worst_in_one_column_does_not_count(bins: tuple[int, ...], fit: float) -> None:
    """A slider moves one column to where it does not belong."""
    found = fit_together(np.array(bins, np.int64), PARENT, belonging(), np.empty(len(bins)))
    assert found == pytest.approx(fit)


def test_without_pairs_nothing_fits_and_nothing_clashes() -> None:
    """Baselines that know no pairs have columns all the same."""
    width = 3
    known = Drawn(
        np.arange(width, dtype=np.int32),
        np.zeros(width, np.bool_),
        np.full((width, BINS - 1), np.inf, np.float32),
        np.zeros((2, width, BINS), np.float32),
        np.zeros((width, SCALING), np.float32),
        none_drawn().parent,
        none_drawn().belong,
    )
    views = np.full((2, VIEWS), np.nan)
    record_views(np.ones((2, width), np.float32), np.zeros(2, np.float32), known, views)
    assert not views[:, VIEWS - 1].any()
