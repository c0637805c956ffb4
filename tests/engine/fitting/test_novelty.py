"""Fitting the norms: profiles, held-out scores, and how few clients are too few."""

import numpy as np
import pytest

from detector.engine.fitting.novelty import fit_norms
from detector.engine.models.novelty import Norms, Novelty
from detector.errors import BaselineError
from tests.engine.evaluations import evaluations


@pytest.fixture(scope="module")
def norms() -> Norms:
    """Learn forty clients in two crowds."""
    return fit_norms(evaluations(40, crowds=2)).norms


def test_few_clients_make_one_profile() -> None:
    """With fewer than sixteen clients there are too few for two profiles of eight."""
    assert fit_norms(evaluations(15, crowds=2)).norms.means.shape[1] == 1


def test_session_scores_are_held_out_and_sorted(norms: Norms) -> None:
    """One score per calibration client, the highest first, from norms that had not seen it: higher than its score now."""
    table = evaluations(40, crowds=2)
    assert norms.session_scores.shape == (40,)
    assert (np.diff(norms.session_scores) <= 0).all()
    now = Novelty(norms).score(table.rows, table.queries)
    assert np.median(norms.session_scores) >= np.median([now[table.client == i].max() for i in range(40)])


def test_too_few_clients_are_refused() -> None:
    """Seven clients cannot say what is usual."""
    with pytest.raises(BaselineError, match="only 7 clients"):
        fit_norms(evaluations(7))
