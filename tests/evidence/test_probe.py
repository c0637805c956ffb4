"""Probe: which sparse steps have a twin."""

import numpy as np
import pytest

from detector.evidence.probe import LEAST_STEPS, TABLE_STEP, is_probe, moved_values

DIMENSION = 24


def probes(query: np.ndarray, anchors: np.ndarray, *, last: float = 0.0, table: bool = False, spread: float = 0.01) -> bool:
    """Ask about a query made from the first anchor."""
    squares = np.square(anchors - query).sum(axis=1).astype(np.float32)
    near = np.argsort(squares, kind="stable")
    z = np.ascontiguousarray(anchors.T.astype(np.int16))
    return bool(is_probe(query.astype(np.float32), z, squares, near, 0, last, table, spread))


def moved(column: int, step: float) -> np.ndarray:
    """Return the first anchor with one value moved."""
    query = np.zeros(DIMENSION)
    query[column] = step
    return query


@pytest.mark.parametrize("table", [False, True])
def test_the_mirror_image_of_an_earlier_probe_is_a_probe(*, table: bool) -> None:
    """There and back about the same query, by the same length."""
    anchors = np.array([np.zeros(DIMENSION), moved(4, 20)])
    assert probes(moved(4, -20), anchors, table=table)
    assert not probes(moved(4, -30), anchors, table=table)


def test_a_series_of_one_length_is_probing_in_pictures_only() -> None:
    """In a table, other columns moved by equal steps are what people do to forms."""
    anchors = np.array([np.zeros(DIMENSION), moved(4, 20)])
    assert probes(moved(9, 20), anchors, last=20.0)
    assert not probes(moved(9, 22), anchors, last=20.0)
    assert not probes(moved(9, 20), anchors, last=20.0, table=True)


def test_a_slider_is_no_probe() -> None:
    """The next step of one value along the same line, even of the very length of the one before."""
    anchors = np.array([np.zeros(DIMENSION), moved(4, -20)])
    assert not probes(moved(4, -40), anchors, last=40.0)


def test_large_steps_in_tables_and_tiny_ones_anywhere_say_nothing() -> None:
    """Beyond a share of the column's spread, or below what the memory resolves."""
    anchors = np.array([np.zeros(DIMENSION), moved(4, 20)])
    assert not probes(moved(4, -20), anchors, table=True, spread=1.01 * TABLE_STEP)
    tiny = LEAST_STEPS - 1
    assert not probes(moved(4, -tiny), np.array([np.zeros(DIMENSION), moved(4, tiny)]))


def test_values_below_the_resolution_have_not_moved() -> None:
    """Rounding is no movement."""
    assert moved_values(np.array([0.0, 0.004, -0.02, 0.3]), 0.005) == 2
