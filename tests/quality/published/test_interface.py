"""All published detectors are played through one interface, and none is changed by it."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.quality.published.add import Add
from tests.quality.published.blacklight import Blacklight
from tests.quality.published.hoda import Hoda, Snapshot
from tests.quality.published.interface import (
    PradaDetector,
    PublishedDetector,
    Session,
    Watch,
    calibrated,
    flagged_at,
    pooled,
    scores,
)
from tests.quality.published.mmd import MmdWindow
from tests.quality.published.prada import Prada
from tests.quality.published.seat import Seat


def benign(seed: int, n: int = 120, dimension: int = 30) -> Session:
    """Independent normal queries in two classes."""
    rng = np.random.default_rng(seed)
    vectors = np.clip(rng.normal(0.5, 0.15, (n, dimension)), 0.0, 1.0)
    return Session(vectors, np.eye(2)[(vectors[:, 0] > 0.5).astype(np.int64)], f"client-{seed}")


def _above(threshold: float) -> Snapshot:
    return lambda X: (X[:, 0] > threshold).astype(np.int64)


def _snapshots() -> list[Snapshot]:
    return [_above(threshold) for threshold in (0.8, 0.6, 0.5)]


def _published() -> list[PublishedDetector]:
    return [
        PradaDetector(),
        Hoda(_snapshots(), length=20, sequences=500),
        Add(window=16, components=5),
        Seat(epochs=2),
        Blacklight((0.0, 1.0), shared=False),
        MmdWindow(30, nulls=40),
    ]


@pytest.mark.parametrize("detector", _published(), ids=lambda detector: type(detector).__name__)
def test_every_detector_is_fitted_calibrated_and_played(detector: PublishedDetector) -> None:
    """A score comes for some queries of a client, and no calibration client passes the calibrated threshold."""
    detector.fit([benign(seed) for seed in range(4)])
    calibration = [benign(seed) for seed in range(10, 14)]
    threshold = calibrated(detector, calibration)
    for session in calibration:
        seen = scores(detector, session)
        assert seen.shape == (120,)
        assert np.isfinite(seen).any()
        assert flagged_at(seen, threshold) is None
    assert np.isfinite(detector.threshold)


@pytest.mark.parametrize("detector", _published(), ids=lambda detector: type(detector).__name__)
def test_clients_do_not_see_each_other(detector: PublishedDetector) -> None:
    """A client's scores are the same whoever was watched before, and fitting again gives the same detector."""
    detector.fit([benign(seed) for seed in range(4)])
    alone = scores(detector, benign(20))
    scores(detector, benign(21))
    assert np.array_equal(scores(detector, benign(20)), alone, equal_nan=True)
    detector.fit([benign(seed) for seed in range(4)])
    assert np.array_equal(scores(detector, benign(20)), alone, equal_nan=True)


@pytest.mark.parametrize(
    "detector", [Hoda(_snapshots()), Add(), Seat(), MmdWindow()], ids=lambda detector: type(detector).__name__
)
def test_those_that_learn_have_to_be_fitted(detector: PublishedDetector) -> None:
    """Watching without a fit is an error, and so is a fit on nothing."""
    with pytest.raises(ValueError, match="not been fitted"):
        detector.watch()
    with pytest.raises(ValueError, match="benign quer"):
        detector.fit([])


def test_prada_is_the_same_behind_the_interface() -> None:
    """Scores are -W at the queries where it is tested, and a flag comes where the original raises its alarm first."""
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(200, 20)), 2, axis=0)
    session = Session(vectors, np.tile([1.0, 0.0], (400, 1)))
    original = Prada(0.95)
    verdicts = [original.observe(vector, 0) for vector in vectors]
    seen = scores(PradaDetector(0.95), session)
    tested = [-verdict.w if verdict.tested and verdict.w is not None else np.nan for verdict in verdicts]
    assert np.array_equal(seen, tested, equal_nan=True)
    first = next(number for number, verdict in enumerate(verdicts, 1) if verdict.flagged)
    assert flagged_at(seen, PradaDetector(0.95).threshold) == first


class _Scripted:
    """A detector that gives the scores it is told."""

    threshold = 1.0

    def fit(self, sessions: Sequence[Session]) -> None:
        del sessions

    def watch(self) -> Watch:
        return _ScriptedWatch()


class _ScriptedWatch:
    def observe(self, vector: np.ndarray, answer: np.ndarray) -> float | None:
        del answer
        return None if vector[0] < 0 else float(vector[0])


def _script(*values: float) -> Session:
    return Session(np.array(values)[:, None], np.ones((len(values), 1)))


def test_calibration_takes_the_largest_score_of_any_client() -> None:
    """Clients without a score do not count, queries without one neither; with none at all there is no threshold."""
    assert calibrated(_Scripted(), [_script(-1, 3, 2), _script(-1, -1), _script(5, -1)]) == 5.0
    for sessions in ([], [_script(-1, -1)]):
        with pytest.raises(ValueError, match="no calibration client"):
            calibrated(_Scripted(), sessions)


def test_a_flag_is_counted_in_queries_and_needs_more_than_the_threshold() -> None:
    """The threshold itself is not above it."""
    seen = scores(_Scripted(), _script(-1, 1, 2, 1, 3))
    assert flagged_at(seen, 1.0) == 3
    assert flagged_at(seen, 2.0) == 5
    assert flagged_at(seen, 3.0) is None


def test_pooled_queries_keep_their_labels() -> None:
    """All sessions in a row; labels are those of the answers."""
    X, labels = pooled([benign(1, 3), benign(2, 4)])
    assert X.shape == (7, 30)
    assert np.array_equal(labels, (X[:, 0] > 0.5).astype(np.int64))
