"""Brackets of one column: a search halves them where the answers differ, sliders and grids do not."""

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.bisect import RECORD_WEIGHTS
from detector.engine.evidence.bracket import (
    BESIDE,
    MOST_ACCIDENT,
    MOST_ALONE,
    SATURATED,
    WITHIN,
    Bracket,
    find_bracket,
    weight_between_labels,
    weight_within_label,
)

Vector = npt.NDArray[np.float64]

DIMENSION = 24
NUMBERS = 16  # columns with a coordinate of their own


def record(seed: int = 0) -> Vector:
    """Return some record."""
    return np.rint(np.random.default_rng(seed).normal(size=DIMENSION) * 1000)


def hidden_way(seed: int = 1) -> Vector:
    """Return the direction of a column without a coordinate of its own."""
    way = np.zeros(DIMENSION)
    way[NUMBERS:] = np.random.default_rng(seed).normal(size=DIMENSION - NUMBERS) * 500
    return way


def own_way(column: int = 3) -> Vector:
    """Return the direction of a column with a coordinate of its own."""
    way = np.zeros(DIMENSION)
    way[column] = 2000.0
    return way


def bracket(query: Vector, earlier: list[Vector], level: float = 0.0) -> Bracket:
    """Return the bracket of a query among earlier ones, the oldest first."""
    z = np.rint(np.array(earlier)).T.astype(np.int16)
    order = np.arange(len(earlier)).astype(np.uint32)
    grain = np.full(DIMENSION, level, np.float32)
    return Bracket(*find_bracket(np.rint(query).astype(np.float32), z, len(earlier), order, NUMBERS, grain))


@pytest.mark.parametrize("way", [own_way(), hidden_way()], ids=["own", "hidden"])
def test_a_search_along_one_column_is_a_chain_of_middles(way: Vector) -> None:
    """Each query halves the bracket of the last two answers, and all but the first build on the one before."""
    first = record()
    earlier = [record(7), first, record(8), first + way]
    low, high = 0.0, 1.0
    for turn in range(5):
        at = (low + high) / 2.0
        found = bracket(first + at * way, earlier)
        assert found.middle
        assert found.accident <= MOST_ACCIDENT
        assert found.chained == (turn > 0)
        earlier.append(first + at * way)
        low, high = (low, at) if at > 0.3 else (at, high)


@pytest.mark.parametrize("way", [own_way(), hidden_way()], ids=["own", "hidden"])
def test_other_places_in_a_bracket_are_no_middle(way: Vector) -> None:
    """A slider stands anywhere; behind the last place there is no bracket at all."""
    first = record()
    found = bracket(first + 0.4 * way, [first, first + way])
    assert found.low >= 0
    assert not found.middle
    assert bracket(first + 1.2 * way, [first, first + way]).low < 0


def test_a_bracket_needs_records_that_differ_in_this_column_only() -> None:
    """Middles of other records, or of two columns at once, are judged elsewhere."""
    first = record()
    assert bracket(first + own_way(), [record(1), record(2)]).low < 0
    both = own_way(3) + own_way(4)
    assert bracket(first + 0.5 * both, [first, first + both]).low < 0
    turned = hidden_way() + hidden_way(2)
    assert bracket(first + 0.5 * hidden_way(), [first, first + turned]).low < 0


def test_a_middle_of_another_column_is_no_link_of_the_chain() -> None:
    """The latest end must have halved a longer bracket of the same column, so the other half's end is there, too."""
    first, way = record(), own_way()
    assert not bracket(first + 0.25 * way, [first, first + 0.5 * way]).chained
    assert bracket(first + 0.25 * way, [first, first + way, first + 0.5 * way]).chained
    assert not bracket(first + 0.25 * way, [first, first + 0.8 * way, first + 0.5 * way]).chained


def test_few_levels_say_nothing() -> None:
    """Of two levels one is the middle whatever the client wants; of twenty it is not."""
    first, way = record(), own_way()
    assert bracket(first + 0.5 * way, [first, first + way], level=1000.0).accident > MOST_ACCIDENT
    assert bracket(first + 0.5 * way, [first, first + way], level=100.0).accident < MOST_ACCIDENT


def test_an_end_beyond_the_integers_has_no_known_middle() -> None:
    """A value that saturates may have been any larger one."""
    first = record()
    end = first.copy()
    end[3] = SATURATED
    middle = first.copy()
    middle[3] = (first[3] + end[3]) / 2.0
    assert bracket(middle, [first, end]).low < 0


def test_a_column_halved_alone_is_little_evidence_until_there_is_another() -> None:
    """A person looks for the largest loan by halving; a thief halves the next column as well, and then it counts early."""
    halved, alone = np.zeros(1, np.uint32), np.zeros(1, np.uint8)
    first = [weight_between_labels(depth, 2, halved, alone, 0) for depth in (1, 2, 3, 4, 5, 6, 3, 4, 5)]
    assert first == [0.0, 0.0, RECORD_WEIGHTS[3], RECORD_WEIGHTS[4], *[0.0] * 5]
    assert alone.tolist() == [MOST_ALONE]
    second = [weight_between_labels(depth, 5, halved, alone, 0) for depth in (1, 2, 3, 4)]
    assert second == BESIDE[1:5].tolist()
    assert weight_between_labels(4, 2, halved, alone, 0) == 1.0


def test_within_one_label_first_halvings_weigh_nothing() -> None:
    """A grid that is repeated with half its step leaves those."""
    assert [weight_within_label(depth) for depth in (0, 1)] == [0.0, 0.0]
    assert weight_within_label(9) == WITHIN[-1] == 1.0
    assert (np.diff(WITHIN) >= 0.0).all()
    assert (WITHIN <= BESIDE).all()
