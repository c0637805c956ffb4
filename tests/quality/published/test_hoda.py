"""HODA finds the degrees, the normal histogram and the threshold of its source, and fails where it must."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from detector.redteam.victim import Victim, digits_victim
from tests.quality.published.hoda import EPOCHS, Hoda, Snapshot, snapshots_of
from tests.quality.published.interface import Array, Labels, Session, flagged_at, scores


def _reading(column: int) -> Snapshot:
    """A snapshot that reads its label off the sample itself."""
    return lambda X: X[:, column].astype(np.int64)


def _session(X: Array) -> Session:
    return Session(X, np.ones((len(X), 1)))


@given(labels=hnp.arrays(np.int64, (20, 5), elements=st.integers(0, 2)))
def test_degrees_are_the_first_snapshot_from_which_the_label_stays(labels: Labels) -> None:
    """As the definition says it, one sample after the other."""
    found = Hoda([_reading(i) for i in range(5)], length=1).degrees(labels.astype(np.float64))
    for row, degree in zip(labels.tolist(), found.tolist(), strict=True):
        assert all(label == row[-1] for label in row[degree:])
        assert degree == 0 or row[degree - 1] != row[-1]


def test_small_case_by_hand() -> None:
    """Three snapshots, degrees 0, 0, 0, 1, 1, 2: normal is (1/2, 1/3, 1/6), as drawing all six gives nothing else.

    Four samples of degree 2 and two of degree 1 have (0, 1/3, 2/3). Both have mean 1/3: deviations (1/6, 0, -1/6) and
    (-1/3, 0, 1/3), correlation -1, distance 2.
    """
    rows = {0: [7.0, 7.0, 7.0], 1: [1.0, 7.0, 7.0], 2: [7.0, 1.0, 7.0]}
    detector = Hoda([_reading(i) for i in range(3)], length=6, sequences=10)
    detector.fit([_session(np.array([rows[degree] for degree in (0, 0, 0, 1, 1, 2)]))])
    np.testing.assert_allclose(detector.normal, [1 / 2, 1 / 3, 1 / 6])
    assert detector.threshold == pytest.approx(0.0, abs=1e-12)
    seen = scores(detector, _session(np.array([rows[degree] for degree in (2, 2, 1, 2, 1, 2, 0)])))
    assert np.isnan(seen[:5]).all()
    assert seen[5] == pytest.approx(2.0)
    assert np.isnan(seen[6])


@given(counts=st.lists(st.integers(0, 30), min_size=11, max_size=11).filter(lambda counts: len(set(counts)) > 1))
def test_the_distance_is_pearsons(counts: list[int]) -> None:
    """One less the correlation coefficient that scipy finds."""
    detector = Hoda([_reading(0)] * 11, length=5)
    detector._normal = np.linspace(0.3, 0.0, 11)
    degrees = np.repeat(np.arange(11), counts)
    expected = 1.0 - stats.pearsonr(np.array(counts), detector.normal).statistic
    assert detector.distance(degrees) == pytest.approx(expected, abs=1e-9)


def test_the_threshold_is_the_largest_distance_of_sequences_drawn_one_by_one() -> None:
    """Drawing histograms is drawing samples without replacement: both give thresholds and means of one size."""
    rng = np.random.default_rng(0)
    pool = rng.choice(4, 400, p=(0.6, 0.2, 0.15, 0.05))
    rows = np.full((400, 4), 9.0)
    for row, degree in zip(rows, pool.tolist(), strict=True):
        if degree:
            row[degree - 1] = 1.0
    detector = Hoda([_reading(i) for i in range(4)], length=50, sequences=3000)
    detector.fit([_session(rows)])
    drawn = []
    for _ in range(3000):
        sample = Counter(pool[rng.choice(400, 50, replace=False)].tolist())
        drawn.append([sample[degree] / 50 for degree in range(4)])
    normal = np.mean(drawn, axis=0)
    np.testing.assert_allclose(detector.normal, normal, atol=0.01)
    slow = max(1.0 - float(np.corrcoef(histogram, normal)[0, 1]) for histogram in drawn)
    assert detector.threshold == pytest.approx(slow, rel=0.8)


def test_snapshots_learn(victim: Victim) -> None:
    """Eleven of them, and the late ones are right far more often than the first."""
    kept = snapshots_of(victim.training.vectors, victim.training.labels)
    right = [float((snapshot(victim.test.vectors) == victim.test.labels).mean()) for snapshot in kept]
    assert len(kept) == len(EPOCHS) == 11
    assert right[-1] > 0.9
    assert right[0] < right[-1] - 0.2


def test_two_classes_have_one_output() -> None:
    """A binary perceptron has a single output unit; its snapshots still give the labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = np.where(X[:, 0] > 0.0, 7, 3)
    last = snapshots_of(X, y, hidden=16, epochs=(0, 300))[-1]
    assert (last(X) == y).mean() > 0.8


def test_finds_noise_and_misses_cover(victim: Victim) -> None:
    """Uniform noise is flagged at the hundredth query, pictures of the same kind are not, noise among nine tenths neither."""
    detector = Hoda(snapshots_of(victim.training.vectors, victim.training.labels))
    natural = victim.baseline.vectors
    detector.fit([_session(natural)])
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.0, 16.0, (100, 64))
    assert flagged_at(scores(detector, _session(noise)), detector.threshold) == 100
    assert flagged_at(scores(detector, _session(victim.benign.vectors[:300])), detector.threshold) is None
    cover = np.concatenate([victim.benign.vectors[:90], noise[:10]])
    assert flagged_at(scores(detector, _session(cover)), detector.threshold) is None


def test_without_snapshots_it_cannot_be_used() -> None:
    """A log says nothing of how the model came to be; nor do too few queries make a sequence."""
    for snapshots in ([], [_reading(0)]):
        with pytest.raises(ValueError, match="without snapshots"):
            Hoda(snapshots)
    with pytest.raises(ValueError, match="do not make a sequence"):
        Hoda([_reading(0)] * 2).fit([_session(np.ones((99, 1)))])
    with pytest.raises(ValueError, match="at least 1"):
        Hoda([_reading(0)] * 2, length=0)


@pytest.fixture(scope="module")
def victim() -> Victim:
    """A small model whose training can be repeated."""
    return digits_victim(7)
