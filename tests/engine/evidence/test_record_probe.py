"""Record probe: which short moves of one number of a record have a twin and siblings."""

import numpy as np

from detector.engine.evidence.record_probe import TABLE_STEP, is_record_probe, longest_probe

DIMENSION = 24
NUMBERS = 12  # the other coordinates are shared by columns without one of their own, and by codes
SPREAD = 500.0


def record_probes(query: np.ndarray, earlier: np.ndarray, *, level: float = 0.0, siblings: bool = True) -> bool:
    """Ask about a record made from the first retained query, when another number has been moved before."""
    known = np.vstack([earlier, moved(7, 30)]) if siblings else earlier
    z = np.ascontiguousarray(known.T.astype(np.int16))
    levels, variance = np.full(DIMENSION, level, np.float32), np.full(DIMENSION, SPREAD**2, np.float32)
    return bool(is_record_probe(query.astype(np.float32), z, len(known), 0, NUMBERS, levels, variance, DIMENSION - NUMBERS))


def moved(column: int, step: float) -> np.ndarray:
    """Return the first retained record with one number moved."""
    query = np.zeros(DIMENSION)
    query[column] = step
    return query


def shared_ways(count: int, seed: int = 3) -> np.ndarray:
    """Return short moves of columns without a coordinate of their own."""
    ways = np.zeros((count, DIMENSION))
    ways[:, NUMBERS:] = np.rint(np.random.default_rng(seed).normal(size=(count, DIMENSION - NUMBERS)) * 12)
    return ways


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


def test_a_field_that_is_tried_further_is_no_probe() -> None:
    """A record with a third value of the same number beside the two mirror images: somebody tries a field."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 20), moved(4, 40)])
    assert not record_probes(moved(4, -20), earlier)


def test_a_probe_is_about_its_centre_wherever_other_probes_end() -> None:
    """Of two columns that move a record nearly the same way, one ends nearer to the other than to the record."""
    ways = shared_ways(4)
    ways[1] = np.rint(0.5 * ways[0] + 0.6 * ways[1])
    earlier = np.vstack([np.zeros(DIMENSION), ways[0], *(sign * ways[k] for k in (1, 2, 3) for sign in (1, -1))])
    nearest = np.square(earlier + ways[0]).sum(axis=1).argmin()
    assert nearest > 0
    order = [nearest, *(place for place in range(len(earlier)) if place != nearest)]
    assert record_probes(-ways[0], earlier[order], siblings=False)
    assert not record_probes(-ways[0], earlier[1:], siblings=False)


def test_mixtures_of_few_moves_are_no_siblings() -> None:
    """Three columns that drift by a level, together and each by itself, have twins in many directions."""
    one, two, three, four = shared_ways(4)
    drifted = [a * one + b * two + c * three for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
    earlier = np.vstack([np.zeros(DIMENSION), *(row for row in drifted if (row != -one).any() and row.any())])
    assert not record_probes(-one, earlier, siblings=False)
    assert record_probes(-one, np.vstack([earlier, four]), siblings=False)


def test_equal_moves_of_other_numbers_and_large_or_tiny_ones_say_nothing() -> None:
    """Equal moves of columns are what people do to forms. Moves are short beside the spread, or a single level."""
    earlier = np.array([np.zeros(DIMENSION), moved(4, 80)])
    assert not record_probes(moved(9, 80), earlier)
    far = np.ceil(1.01 * TABLE_STEP * SPREAD)
    earlier = np.array([np.zeros(DIMENSION), moved(4, far)])
    assert not record_probes(moved(4, -far), earlier)
    assert record_probes(moved(4, -far), earlier, level=far)
    assert not record_probes(moved(4, -2), np.array([np.zeros(DIMENSION), moved(4, 2)]))


def test_one_number_tried_up_and_down_is_no_gradient() -> None:
    """Without probes of other numbers about the same record, a twin is a second reading."""
    assert not record_probes(moved(4, -60), np.array([np.zeros(DIMENSION), moved(4, 60)]), siblings=False)
