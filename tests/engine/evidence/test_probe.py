"""Probe: which sparse steps have a twin."""

import numpy as np

from detector.engine.evidence.probe import (
    LEAST_STEPS,
    SERIES,
    SIZES,
    in_series,
    is_one_level,
    is_probe,
    largest_move,
    moved_values,
)

DIMENSION = 24


def probes(query: np.ndarray, earlier: np.ndarray, *, alike: bool = False) -> bool:
    """Ask about a query made from the first retained query, when two other values have been moved before."""
    earlier = np.vstack([earlier, moved(20, 30), moved(21, -30)])
    squares = np.square(earlier - query).sum(axis=1).astype(np.float32)
    near = np.argsort(squares, kind="stable")
    z = np.ascontiguousarray(earlier.T.astype(np.int16))
    return bool(is_probe(query.astype(np.float32), z, squares, near, 0, alike))


def series(
    size: float,
    earlier: list[int],
    *,
    values: list[int] | None = None,
    length: float | None = None,
    rounding: float = 0.01,
    grain: float = 0.0,
) -> bool:
    """Ask about a sparse step of `size` after others of `earlier` sizes, in units of `rounding`."""
    sizes, moved_before = np.zeros((2, SIZES), np.uint8)
    sizes[: len(earlier)] = earlier
    moved_before[: len(earlier)] = 1 + np.arange(len(earlier)) if values is None else 1 + np.array(values)
    return bool(in_series(40, size, size if length is None else length, moved_before, sizes, rounding, grain))


def moved(column: int, step: float) -> np.ndarray:
    """Return the first retained query with one value moved."""
    query = np.zeros(DIMENSION)
    query[column] = step
    return query


def test_the_mirror_image_of_an_earlier_probe_is_a_probe() -> None:
    """There and back about the same query, by the same length."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 20)])
    assert probes(moved(4, -20), earlier)
    assert not probes(moved(4, -30), earlier)


def test_a_series_of_one_size_is_probing() -> None:
    """Other values moved by equal steps."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 80)])
    assert probes(moved(9, 80), earlier, alike=True)
    assert not probes(moved(9, 80), earlier)


def test_a_series_needs_several_equal_sizes() -> None:
    """Up to a level apart, whatever other sizes lie between them; a dense step of that size is none."""
    assert series(0.05, [5, 20, 5, 20, 6, 4])
    assert not series(0.05, [5, 20, 9] + [5] * (SERIES - 2))
    assert not series(0.05, [])
    assert not series(0.05, [5] * SERIES, length=0.1)


def test_a_series_goes_from_one_value_to_the_next() -> None:
    """Parts of a picture that are switched on and off move the same values again and again."""
    assert series(0.05, [5] * 6, values=[3, 3, 7, 7, 9, 11])
    assert not series(0.05, [5] * 6, values=[3, 7, 9, 3, 7, 9])
    assert not series(0.05, [5] * 8, values=[3, 7, 9, 11, 13, 40, 40, 40])


def test_a_series_of_single_levels_is_none() -> None:
    """Sizes that rounding cannot tell apart, or that a sensor's single levels have, are nobody's."""
    assert not series(0.04, [4] * SERIES)
    assert not series(0.015, [8] * SERIES, rounding=0.002, grain=0.012)
    assert series(0.02, [10] * SERIES, rounding=0.002, grain=0.012)


def test_sizes_that_are_equal_by_accident_make_no_series() -> None:
    """Where values drift, many sizes are near this one, and as many lie beside those."""
    assert not series(0.06, [6] * SERIES + [3, 8, 9])
    assert series(0.06, [6] * SERIES + [2, 12, 20])


def test_a_slider_is_no_probe() -> None:
    """The next step of one value along the same line, even of the very length of the one before."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, -20)])
    assert not probes(moved(4, -40), earlier, alike=True)


def test_tiny_steps_say_nothing() -> None:
    """Below what the memory resolves."""
    tiny = LEAST_STEPS - 1
    assert not probes(moved(4, -tiny), np.array([np.zeros(DIMENSION), moved(4, tiny)]))


def test_one_value_tried_up_and_down_is_no_gradient() -> None:
    """Without probes of other values about the same query, a twin is a second reading."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 60)])
    query = moved(4, -60)
    squares = np.square(earlier - query).sum(axis=1).astype(np.float32)
    z = np.ascontiguousarray(earlier.T.astype(np.int16))
    assert not is_probe(query.astype(np.float32), z, squares, np.array([0, 1]), 0, True)


def test_values_below_the_resolution_have_not_moved() -> None:
    """Rounding is no movement."""
    assert moved_values(np.array([0.0, 0.004, -0.02, 0.3]), 0.005) == 2


def test_one_coarse_level_is_no_probe() -> None:
    """Where values have few levels, twins one level apart make themselves; finer levels do not, and other steps are steps."""
    assert is_one_level(1 / 16, 1 / 16)
    assert not is_one_level(1 / 128, 1 / 16)
    assert not is_one_level(1 / 255, 1 / 255)
    assert not is_one_level(1 / 16, 0.0)


def test_nothing_moves_where_nothing_is_sampled() -> None:
    """Of a table of codes there are no sampled values."""
    assert largest_move(np.array([0.1, -0.3, 0.2], np.float32)) == (1, np.float32(0.3))
    assert largest_move(np.empty(0, np.float32)) == (0, 0.0)
