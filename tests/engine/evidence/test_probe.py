"""Probe: which sparse steps have a twin."""

import numpy as np

from detector.engine.evidence.probe import (
    LEAST_STEPS,
    SERIES,
    SIZES,
    TABLE_STEP,
    in_series,
    is_one_level,
    is_probe,
    is_record_probe,
    largest_move,
    longest_probe,
    moved_values,
)

DIMENSION = 24
NUMBERS = 12  # of a record, the other coordinates being codes
SPREAD = 500.0


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


def record_probes(query: np.ndarray, earlier: np.ndarray, *, level: float = 0.0, siblings: bool = True) -> bool:
    """Ask about a record made from the first retained query, when another number has been moved before."""
    known = np.vstack([earlier, moved(7, 30)]) if siblings else earlier
    z = np.ascontiguousarray(known.T.astype(np.int16))
    levels, variance = np.full(DIMENSION, level, np.float32), np.full(DIMENSION, SPREAD**2, np.float32)
    return bool(is_record_probe(query.astype(np.float32), z, len(known), 0, NUMBERS, levels, variance, DIMENSION - NUMBERS))


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


def test_in_records_one_number_moves_there_and_back() -> None:
    """The mirror image must be one: neither another length, nor another number, nor a code."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 20)])
    assert record_probes(moved(4, -20), earlier)
    assert not record_probes(moved(4, -30), earlier)
    assert not record_probes(moved(5, -20), earlier)
    assert not record_probes(moved(15, -20), np.array([np.zeros(DIMENSION), moved(15, 20)]))
    assert not record_probes(moved(4, -20) + moved(5, 20), earlier)


def test_columns_without_coordinates_are_probed_as_well() -> None:
    """Their moves are directions; three other columns must have moved, and none of them to a third place."""
    rng = np.random.default_rng(3)
    ways = np.zeros((4, DIMENSION))
    ways[:, NUMBERS:] = np.rint(rng.normal(size=(4, DIMENSION - NUMBERS)) * 12)
    first = np.zeros(DIMENSION)
    earlier = np.vstack([first, ways[0], moved(4, 20), moved(5, 20), ways[1], -ways[1]])
    assert record_probes(-ways[0], earlier)
    assert not record_probes(-ways[0], earlier[:2])
    assert not record_probes(-ways[0], np.vstack([earlier, 3 * ways[0]]))
    assert not record_probes(-2 * ways[0], earlier)
    far = np.vstack([first, ways[0], moved(4, 400), moved(5, 400), ways[1], -ways[1]])
    assert not record_probes(-ways[0], far)  # siblings are as short as probes
    assert not record_probes(-40 * ways[0], np.vstack([earlier, 40 * ways[0]]))


def test_one_of_three_levels_is_no_small_step() -> None:
    """Whoever has the middle value of three finds both others beside it, and so does an audit."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 600)])
    assert not record_probes(moved(4, -600), earlier, level=600)
    assert longest_probe(400.0, SPREAD**2) > 400.0 > longest_probe(600.0, SPREAD**2)


def test_a_series_of_one_size_is_probing_in_pictures_only() -> None:
    """In a table, other columns moved by equal steps are what people do to forms."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 80)])
    assert probes(moved(9, 80), earlier, alike=True)
    assert not probes(moved(9, 80), earlier)
    assert not record_probes(moved(9, 80), earlier)


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


def test_a_field_that_is_tried_further_is_no_probe() -> None:
    """A record with a third value of the same number beside the two mirror images: somebody tries a field."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 20), moved(4, 40)])
    assert not record_probes(moved(4, -20), earlier)


def test_large_steps_in_tables_and_tiny_ones_anywhere_say_nothing() -> None:
    """Beyond a share of the column's spread, unless it is a single level, or below what the memory resolves."""
    far = np.ceil(1.01 * TABLE_STEP * SPREAD)
    earlier = np.array([np.zeros(DIMENSION), moved(4, far)])
    assert not record_probes(moved(4, -far), earlier)
    assert record_probes(moved(4, -far), earlier, level=far)
    assert not record_probes(moved(4, -2), np.array([np.zeros(DIMENSION), moved(4, 2)]))
    tiny = LEAST_STEPS - 1
    assert not probes(moved(4, -tiny), np.array([np.zeros(DIMENSION), moved(4, tiny)]))


def test_one_value_tried_up_and_down_is_no_gradient() -> None:
    """Without probes of other values about the same query, a twin is a second reading."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 60)])
    query = moved(4, -60)
    squares = np.square(earlier - query).sum(axis=1).astype(np.float32)
    z = np.ascontiguousarray(earlier.T.astype(np.int16))
    assert not is_probe(query.astype(np.float32), z, squares, np.array([0, 1]), 0, True)
    assert not record_probes(query, earlier, siblings=False)


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
