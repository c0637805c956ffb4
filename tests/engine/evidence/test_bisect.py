"""Halving between answers is seen, sliders and fades are not."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.evidence.bisect import (
    BISECT_WEIGHTS,
    LOOSE,
    MANY,
    OFF_MIDDLE_WIDE,
    RECORD_WEIGHTS,
    by_accident,
    centred_bonus,
    is_rare_middle,
    lies_between,
    on_record_line,
    record_depth,
    weight_of,
    weight_of_middle,
)
from detector.engine.evidence.interval import interval_depth

Vector = npt.NDArray[np.float64]

DIMENSION = 24
FLAT = np.zeros(0, np.float32)  # no sphere
NUMBERS = 20  # of a record, the other coordinates being codes


class Search:
    """What a client asked so far, with the depth that each query was given; everything asked is near."""

    def __init__(self, *, table: bool = False, level: float = 0.0, blur: float = 0.0) -> None:
        self.points: list[Vector] = []
        self.labels: list[int] = []
        self.margins: list[int] = []
        self.depths: list[int] = []
        self.table = table
        self.level = level
        self.blur = blur

    def ask(self, point: Vector, label: int, margin: int = 0) -> int:
        """Return the depth of the query, and note it."""
        n = len(self.points)
        depth = 0
        if n > 0:
            query = point.astype(np.float32)
            away = [float(np.linalg.norm(point - other)) for other in self.points]
            nearest = np.argsort(away, kind="stable")[:8]
            gathered = np.array([self.points[i] for i in nearest], np.float32)
            labels, order, depths = (
                np.array(self.labels, np.int32),
                np.arange(n).astype(np.uint32),
                np.array(self.depths, np.uint8),
            )
            places = nearest.astype(np.int64)
            if self.table:
                margins = np.array(self.margins, np.int16)
                levels = np.full(DIMENSION, self.level, np.float32)
                depth, one, other = record_depth(
                    query, places, gathered, labels, margins, order, depths, np.uint32(n), NUMBERS, levels
                )
            else:
                depth, one, other, _ = interval_depth(query, places, gathered, labels, order, depths, FLAT, 0.05, self.blur)
            assert (depth == 0) == (one < 0) == (other < 0)
        self.points.append(point)
        self.labels.append(label)
        self.margins.append(margin)
        self.depths.append(depth)
        return int(depth)


def ends(seed: int) -> tuple[Vector, Vector]:
    """Return two queries with the same codes, should they be records."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, DIMENSION)) * 1000
    second[NUMBERS:] = first[NUMBERS:]
    return first, second


def field(seed: int) -> tuple[Vector, Vector]:
    """Return two records that differ in one number."""
    first, _ = ends(seed)
    second = first.copy()
    second[3] += 1000
    return first, second


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("boundary", [0.03, 0.37, 0.5001, 0.9])
def test_a_search_for_the_boundary_grows_deeper_with_every_halving(seed: int, boundary: float, *, table: bool) -> None:
    """Each halving is one deeper than the last, wherever the boundary lies, so the sixth weighs more than any other sign."""
    search = Search(table=table)
    first, second = ends(seed)
    search.ask(first, 0)
    search.ask(second, 1)
    low, high = 0.0, 1.0
    depths = []
    for _ in range(7):
        middle = (low + high) / 2
        label = int(middle > boundary)
        depths.append(search.ask(first + middle * (second - first), label))
        low, high = (low, middle) if label else (middle, high)
    assert depths == [1, 2, 3, 4, 5, 6, 7]
    assert (
        weight_of(depths[5], 0.5)
        == weight_of_middle(depths[5], NUMBERS)
        > weight_of(depths[4], 0.5)
        == RECORD_WEIGHTS[-1]
        == 1.0
    )


def test_the_first_two_halvings_weigh_nothing() -> None:
    """A point between two others happens by accident; only a chain counts."""
    assert weight_of(1, 0.5) == weight_of(2, 0.5) == 0.0
    assert RECORD_WEIGHTS[:3].tolist() == [0.0, 0.0, 0.0]
    assert (np.diff(BISECT_WEIGHTS) >= 0).all()
    assert (np.diff(RECORD_WEIGHTS) >= 0).all()


def test_a_point_off_the_exact_middle_weighs_less() -> None:
    """A slider that is set at random leaves points all over the middle; a search halves."""
    assert weight_of(5, 0.47) == 1.0
    assert weight_of(5, 0.4) == weight_of(5, 0.6) == weight_of(9, 0.4) == LOOSE


def test_a_longer_chain_says_more() -> None:
    """By accident each next halving is as rare as the last; in tables of two numbers nothing is rare enough."""
    assert [weight_of(depth, 0.5) for depth in range(3, 10)] == [0.05, 0.2, 1.0, 4.0, 16.0, 16.0, 16.0]
    assert [weight_of_middle(depth, MANY) for depth in range(3, 9)] == [0.1, 0.4, 1.0, 4.0, 16.0, 16.0]
    assert [weight_of_middle(depth, MANY - 1) for depth in range(3, 9)] == [0.1, 0.4, 1.0, 1.0, 1.0, 1.0]


def test_a_slider_in_random_order_rarely_gets_deep() -> None:
    """It leaves more queries around the middle than a search does."""
    rng = np.random.default_rng(21)
    first, second = ends(7)
    deep = 0
    for _ in range(100):
        search = Search()
        depths = [search.ask(first + t * (second - first), int(t > 0.5)) for t in rng.permutation(np.linspace(0, 1, 20))]
        deep += max(depths) >= 4
    assert deep <= 5


@pytest.mark.parametrize("steps", [5, 20, 60])
def test_a_slider_in_order_never_gets_deep(steps: int) -> None:
    """Moving from one end to the other in equal steps leaves the newest point at the end of the way, not in the middle."""
    search = Search()
    first, second = ends(1)
    depths = [search.ask(first + t * (second - first), int(t > 0.5)) for t in np.linspace(0, 1, steps)]
    assert max(depths) == 0


def test_a_slider_between_known_ends_never_gets_deep() -> None:
    """Both ends first, then everything between in order: at most single accidental halvings."""
    search = Search()
    first, second = ends(2)
    search.ask(first, 0)
    search.ask(second, 1)
    depths = [search.ask(first + t * (second - first), int(t > 0.5)) for t in np.linspace(0.05, 0.95, 19)]
    assert max(depths) <= 2


def test_a_field_tried_in_any_order_rarely_gets_deep() -> None:
    """In a table the middle has to be met closely: of a hundred random orders of twenty values, hardly any chains five."""
    rng = np.random.default_rng(8)
    first, second = field(7)
    deep = 0
    for _ in range(100):
        search = Search(table=True)
        depths = [search.ask(first + t * (second - first), int(t > 0.5)) for t in rng.permutation(np.linspace(0, 1, 20))]
        deep += max(depths) >= 5
    assert deep <= 3


def test_a_field_whose_every_value_gives_another_answer_rarely_gets_deep() -> None:
    """A model with smooth answers must not make a search of a field that is tried at random."""
    rng = np.random.default_rng(18)
    first, second = field(7)
    deep = 0
    for _ in range(100):
        search = Search(table=True)
        depths = [search.ask(first + t * (second - first), 0, int(1000 * t)) for t in rng.permutation(np.linspace(0, 1, 20))]
        deep += max(depths) >= 4
    assert deep <= 5


@pytest.mark.parametrize("boundary", [0.03, 0.37, 0.9])
def test_a_search_between_leaves_of_one_label_is_seen(boundary: float) -> None:
    """Path finding tells leaves apart by their confidence; each query halves the interval that ends at the one before."""
    search = Search(table=True)
    first, second = field(9)
    search.ask(first, 0, 100)
    search.ask(second, 0, 200)
    low, high = 0.0, 1.0
    depths = []
    for _ in range(6):
        middle = (low + high) / 2
        depths.append(search.ask(first + middle * (second - first), 0, 200 if middle > boundary else 100))
        low, high = (low, middle) if middle > boundary else (middle, high)
    assert depths == [1, 2, 3, 4, 5, 6]


def test_whole_numbers_are_halved_as_nearly_as_they_can_be() -> None:
    """A middle that rounding moved is one; the codes must be those of one end, and an interval of few levels has no middle."""
    first, second = field(10)
    first[3], second[3] = 0, 630
    search = Search(table=True, level=10.0)
    search.ask(first, 0)
    search.ask(second, 1)
    middle = first.copy()
    depths = []
    for value in (320, 160, 80, 40, 20):
        middle[3] = value
        depths.append(search.ask(middle.copy(), 1))
    assert depths == [1, 2, 3, 4, 5]
    middle[3] = 10
    assert search.ask(middle.copy(), 0) == 0
    other = Search(table=True, level=10.0)
    other.ask(first, 0)
    other.ask(second, 1)
    strange = (first + second) / 2
    strange[NUMBERS] += 50
    assert other.ask(strange, 1) == 0


@pytest.mark.parametrize("boundary", [0.03, 0.37, 0.9])
def test_halvings_are_followed_to_a_few_levels(boundary: float) -> None:
    """The number that tells the place on the line is rounded as well: that must not count against the others."""
    rng = np.random.default_rng(11)
    level = 30.0
    first, second = np.zeros((2, DIMENSION))
    first[:NUMBERS] = level * rng.integers(-40, 40, NUMBERS)
    second[:NUMBERS] = first[:NUMBERS] + level * rng.integers(20, 60, NUMBERS) * rng.choice([-1, 1], NUMBERS)
    search = Search(table=True, level=level)
    search.ask(first, 0)
    search.ask(second, 1)
    low, high = first, second
    depths = []
    for _ in range(4):
        middle = level * np.rint((low + high) / (2.0 * level))
        far = np.linalg.norm(middle - first) > boundary * np.linalg.norm(second - first)
        depths.append(search.ask(middle, int(far)))
        low, high = (low, middle) if far else (middle, high)
    assert depths == [1, 2, 3, 4]


def test_records_that_mix_the_numbers_of_two_are_no_search() -> None:
    """Each number at a place of its own between two records is a mixture, not a point on their line."""
    rng = np.random.default_rng(12)
    first, second = ends(12)
    search = Search(table=True)
    search.ask(first, 0)
    search.ask(second, 1)
    assert {search.ask(first + rng.uniform(0.3, 0.7, DIMENSION) * (second - first), 1) for _ in range(20)} == {0}


def test_answers_that_agree_are_no_search() -> None:
    """Halving between queries with one label teaches nothing about the boundary."""
    search = Search()
    first, second = ends(3)
    for point in (first, second, (first + second) / 2, 0.75 * first + 0.25 * second):
        assert search.ask(point, 4) == 0


def test_independent_queries_are_not() -> None:
    """Of 300 independent points none lies on a line between two others."""
    rng = np.random.default_rng(5)
    search = Search()
    assert {search.ask(rng.normal(size=DIMENSION) * 100, int(rng.integers(2))) for _ in range(300)} == {0}


def test_rounding_is_no_distance_from_a_line() -> None:
    """A search whose queries are sent in few levels is found, until its intervals are as short as rounding."""
    first, second = (np.rint(end / 100.0) * 100.0 for end in ends(5))
    found: dict[float, list[int]] = {}
    for blur in (0.0, DIMENSION * 100.0**2 * 1.5 / 12.0):
        search = Search(blur=blur)
        search.ask(first, 0)
        search.ask(second, 1)
        low, high = 0.0, 1.0
        found[blur] = []
        for _ in range(7):
            middle = (low + high) / 2
            found[blur].append(search.ask(np.rint((first + middle * (second - first)) / 100.0) * 100.0, int(middle > 0.3)))
            low, high = (low, middle) if middle > 0.3 else (middle, high)
    without, allowed = found.values()
    assert without[2:] == [0] * 5
    assert allowed[:4] == [1, 2, 3, 4]
    assert allowed[-1] == 0


@given(st.integers(0, 10**6), st.floats(0.2, 0.8), st.sampled_from([0.0, 5.0, 60.0]))
def test_what_may_halve_two_records_lies_between_them(seed: int, place: float, level: float) -> None:
    """The short test never rules out what the exact one finds near the middle, blurred by levels and rounding."""
    rng = np.random.default_rng(seed)
    one, other = ends(seed)
    way = other - one
    blur = rng.uniform(-1.0, 1.0, DIMENSION) * rng.choice([0.02, 0.5], DIMENSION) * np.abs(way) * rng.choice([0.1, 1.0])
    query = np.rint(one + place * way + blur + rng.uniform(-0.5, 0.5, DIMENSION) * level).astype(np.float32)
    records = query, np.rint(one).astype(np.float32), np.rint(other).astype(np.float32)
    levels = np.full(DIMENSION, level, np.float32)
    position, _, _ = on_record_line(*records, NUMBERS, levels)
    if abs(position - 0.5) <= OFF_MIDDLE_WIDE:
        assert lies_between(*records, NUMBERS, levels)


def centred(middle: Sequence[float], ends: Sequence[float], level: float = 10.0) -> int:
    """By how much a halving of the way from zeros to these numbers counts deeper."""
    query, one, other = np.zeros(24, np.float32), np.zeros(24, np.int16), np.zeros(24, np.int16)
    query[: len(middle)], other[: len(ends)] = middle, ends
    return int(centred_bonus(query, one, other, NUMBERS, np.full(24, level, np.float32)))


def test_a_middle_of_many_numbers_counts_deeper() -> None:
    """Rounding to levels is no distance from the middle; two numbers, or one off the middle, are too little."""
    assert centred([50, 100, 170], [100, 210, 330]) == 1
    assert centred([50, 100, 170, 400], [100, 210, 330, 1000]) == 0
    assert centred([50, 100], [100, 210]) == 0
    assert centred([500, 1000, 1500, 2000], [1000, 2000, 3000, 4000]) == 2


def test_middles_of_many_numbers_with_few_levels_add_up() -> None:
    """Three numbers of two levels tell nothing, five tell as much as three with many; one off the middle is left out."""
    shares = [round(float(by_accident(levels)), 3) for levels in (0.0, 1.0, 2.0, 3.0, 4.0, 1e4)]
    assert shares == [1.0, 1.0, 0.333, 0.5, 0.2, 0.04]
    assert centred([10] * 3, [20] * 3) == 0
    assert centred([10] * 5, [20] * 5) == 1
    assert centred([10] * 4 + [20], [20] * 5) == 0
    assert centred([10] * 9, [20] * 9) == 2


def test_a_search_in_small_whole_numbers_is_followed_to_the_end() -> None:
    """Of nine small numbers the middles are rare together when none of them has four levels left; one number says nothing."""
    level = 30.0
    first, second = np.zeros((2, DIMENSION))
    second[:NUMBERS] = level * np.array([20, 5, 20, 4, 16, 0, 20, 10, 20, 6, *[0] * 10])
    search = Search(table=True, level=level)
    search.ask(first, 0)
    search.ask(second, 1)
    low, high = first, second
    depths = []
    for turn in (True, False, True, False):
        middle = level * np.rint((low + high) / (2.0 * level))
        depths.append(search.ask(middle, int(turn)))
        low, high = (low, middle) if turn else (middle, high)
    assert np.abs(low - high).max() < 4 * level
    assert depths == [1, 2, 3, 4]
    alone = Search(table=True, level=level)
    single = first.copy()
    single[0] = 3 * level
    alone.ask(first, 0)
    alone.ask(single, 1)
    single[0] = 2 * level
    assert alone.ask(single.copy(), 1) == 0


def test_a_middle_of_two_numbers_is_rare_where_the_client_has_no_grid() -> None:
    """Of many levels, among values that do not recur, between unlike records; in tables of two numbers it is never."""
    z = np.zeros((24, 40), np.int16)
    z[:2] = np.random.default_rng(0).integers(-9000, 9000, (2, 40))
    z[:2, 0], z[:2, 1] = 0, (3000, 4000)
    query = np.array([1500, 2000, *[0] * 22], np.float32)
    c = np.zeros((40, 24), np.uint8)
    c[1, :3] = 9

    def is_rare(columns: int = NUMBERS, level: float = 10.0) -> bool:
        return bool(is_rare_middle(query, z, c, 40, 0, 1, columns, np.full(24, level, np.float32)))

    assert is_rare()
    assert not is_rare(columns=2)
    assert not is_rare(level=500.0)
    z[1, 1] = 4400
    assert not is_rare()
    z[1, 1] = 4000
    c[1, 2] = 0
    assert not is_rare()  # an amount, and another that is derived from it
    c[1, 2] = 9
    assert is_rare()
    z[:2, 2:40:4] = query[:2, None]
    assert not is_rare()
