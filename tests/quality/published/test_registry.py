import numpy as np
import pytest

from tests.quality.published.interface import Session, scores
from tests.quality.published.registry import PUBLISHED, lesson, published_for
from tests.quality.simulation import simulated


@pytest.mark.parametrize(("data", "victim"), [("digits", "mlp"), ("loans", "forest")])
def test_each_can_be_set_up_where_it_fits(data: str, victim: str) -> None:
    """After a fit on benign queries each detector watches a client and has a published threshold."""
    found = simulated(data, victim, 1)
    pool = np.tile(found.teaching.benign.vectors[:150], (2, 1))
    taught = Session(found.teaching.encode(pool), found.teaching.predict(pool))
    for name, one in published_for(data, victim).items():
        detector = one.make(found)
        detector.fit([taught])
        assert np.isfinite(detector.threshold)
        assert np.isfinite(scores(detector, taught)).any(), name


def test_where_they_do_not_fit_they_are_left_out() -> None:
    """Fingerprints are of pictures, and snapshots of perceptrons."""
    assert set(PUBLISHED) - set(published_for("loans", "forest")) == {"hoda", "blacklight"}
    assert set(PUBLISHED) - set(published_for("breast_cancer", "mlp")) == {"blacklight"}
    assert set(published_for("digits", "mlp-labels")) == set(PUBLISHED)


def test_a_lesson_is_drawn_from_all() -> None:
    """It is bounded, the same for the same seed, and keeps query and answer together."""
    sessions = [Session(np.full((50, 2), float(i)), np.eye(3)[[i] * 50]) for i in range(3)]
    taught = lesson(sessions, 60, 1)
    assert taught.vectors.shape == (60, 2)
    assert np.array_equal(taught.vectors[:, 0], taught.labels)
    assert len(np.unique(taught.labels)) == 3
    assert np.array_equal(lesson(sessions, 60, 1).vectors, taught.vectors)
    assert len(lesson(sessions, 1000, 1).vectors) == 150
