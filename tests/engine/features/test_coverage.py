"""Cells, labels and distances from the population against counts over the whole history."""

from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.features.coverage import CELLS, LABELS, NAMES, WORDS, Coverage, place_labels, update_coverage
from detector.ingest.packing import label_code

Vector = npt.NDArray[np.float64]

KNOWN = frozenset(range(0, CELLS, 3))


def described(
    labels: list[int],
    cells: list[int],
    off: Vector,
    landmark: Vector,
    *,
    verdict: Vector | None = None,
    repeat: Vector | None = None,
    population_labels: int = 10,
) -> Vector:
    """Return the features of one client after each of its queries."""
    n = len(labels)
    state = allocate(Coverage, 1)
    known = np.zeros(WORDS, np.uint64)
    for cell in KNOWN:
        known[cell >> 6] |= np.uint64(1) << np.uint64(cell & 63)
    out = np.full((n, len(NAMES)), np.nan)
    slot = np.zeros(n, np.int64)
    codes = np.array([label_code(label) for label in labels], np.int32)
    admitted = np.zeros(n, np.uint8) if verdict is None else verdict.astype(np.uint8)
    place = np.zeros(n, np.int64)
    place_labels(state, slot, codes, admitted, place)
    update_coverage(
        state,
        slot,
        codes,
        place,
        np.array(cells, np.int64),
        off.astype(np.float32),
        landmark.astype(np.float32),
        admitted,
        np.zeros(n, np.bool_) if repeat is None else repeat.astype(bool),
        known,
        len(KNOWN),
        min(population_labels, LABELS),
        np.arange(n),
        out,
        0,
    )
    return out


def running_mean(values: Vector, least: float) -> float:
    """Mean of all values at first, later with the share `least` for the newest."""
    mean = 0.0
    for n, value in enumerate(values, 1):
        mean += max(least, 1.0 / n) * (value - mean)
    return mean


queries = st.tuples(
    st.integers(0, 11),
    st.integers(0, 40) | st.integers(0, CELLS - 1),
    st.floats(-5, 5, width=32),
    st.floats(-6, 6, width=32),
    st.booleans(),
)


@given(st.lists(queries, min_size=1, max_size=120), st.integers(1, 14))
def test_counts_and_means_are_what_the_history_says(
    rows: list[tuple[int, int, float, float, bool]], population_labels: int
) -> None:
    """Up to twelve labels everything is exact; a repeat counts for its label alone."""
    labels = [row[0] for row in rows]
    cells = [row[1] for row in rows]
    off, landmark, repeat = (np.array([row[k] for row in rows], np.float64) for k in (2, 3, 4))
    found = described(labels, cells, off, landmark, repeat=repeat, population_labels=population_labels)[-1]

    fresh = repeat == 0
    visited = [cell for cell, counts in zip(cells, fresh, strict=True) if counts]
    n = max(len(visited), 1)
    opened = np.array([cell not in visited[:i] for i, cell in enumerate(visited)], float)
    share = np.array(list(Counter(labels).values())) / len(labels)
    kinds = len(share)
    most = min(population_labels, LABELS)
    mean_square = running_mean(np.square(off[fresh]), 0.02)
    mean = running_mean(off[fresh], 0.02)
    wanted = [
        len(set(visited)) / n,
        running_mean(opened, 1 / 32),
        -(share * np.log(share)).sum() / np.log(max(most, kinds, 2)),
        min(kinds / most, 2.0),
        sum(cell in KNOWN for cell in visited) / n,
        len(set(visited) & KNOWN) / len(KNOWN),
        mean,
        np.sqrt(max(mean_square - mean**2, 0.0)),
        running_mean(landmark[fresh], 0.02),
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize("kinds", [13, 20, 40, 90])
def test_more_labels_than_places_are_estimated(kinds: int) -> None:
    """The share of labels stays within a third of the truth as far as 64 bits can count, and never falls behind twelve."""
    labels = list(range(kinds)) * 3
    n = len(labels)
    found = described(labels, [0] * n, np.zeros(n), np.zeros(n), population_labels=LABELS)[-1, 3] * LABELS
    assert found >= min(kinds, LABELS) * 0.66
    assert found <= min(kinds * 1.35, 2 * LABELS)


def test_entropy_of_many_labels_is_at_most_one() -> None:
    """A table of thirteen places never makes a client look more balanced than balanced."""
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 500, 3000).tolist()
    n = len(labels)
    found = described(labels, [0] * n, np.zeros(n), np.zeros(n), population_labels=1000)
    assert ((found[:, 2] >= 0.0) & (found[:, 2] <= 1.0 + 1e-9)).all()
    assert np.isfinite(found).all()


def test_the_new_cell_rate_forgets() -> None:
    """A client that stands still after a sweep has a rate near 0 a hundred queries later, whatever came before."""
    cells = [*range(500), *([7] * 100)]
    n = len(cells)
    found = described([0] * n, cells, np.zeros(n), np.zeros(n))
    assert found[499, 1] > 0.99
    assert found[-1, 1] < 0.05


def test_repeats_and_late_queries_leave_no_trace() -> None:
    """What admission did not let in changes nothing."""
    rng = np.random.default_rng(5)
    n = 60
    labels, cells = rng.integers(0, 5, n).tolist(), rng.integers(0, CELLS, n).tolist()
    off, landmark = rng.normal(size=(2, n))
    verdict = rng.integers(0, 3, n).astype(np.float64)
    kept = np.flatnonzero(verdict == 0)
    with_others = described(labels, cells, off, landmark, verdict=verdict)
    alone = described([labels[i] for i in kept], [cells[i] for i in kept], off[kept], landmark[kept])
    np.testing.assert_array_equal(with_others[kept], alone)
