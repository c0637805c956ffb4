"""Brackets of one column: a search halves them where the answers differ, sliders and grids do not."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.columns import allocate
from detector.engine.evidence.accumulate import AccumulatedEvidence, accumulate
from detector.engine.evidence.bisect import CHANNEL
from detector.engine.evidence.bracket import MOST_ACCIDENT, SATURATED, Bracket, find_bracket
from detector.engine.evidence.registry import BISECT
from tests.engine.memory.test_observe import shown

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


def test_of_several_columns_the_shortest_bracket_counts() -> None:
    """Whichever column comes first, also where a record on one side only differs in an earlier one."""
    first, one, other = record(), own_way(3), own_way(5)
    query = first + 0.5 * one + 0.2 * other
    sides = [query - 0.5 * one, query + 0.5 * one, query - 0.2 * other, query + 0.2 * other]
    for earlier in (sides, sides[::-1]):
        found = bracket(query, earlier)
        assert (found.column, found.middle) == (5, True)
    assert bracket(query, [query - 0.7 * own_way(2), *sides[:2]]).column == 3


def test_columns_without_coordinates_count_as_one() -> None:
    """Which of the other coordinates moved most depends on rounding."""
    first = record()
    for seed in range(1, 6):
        way = hidden_way(seed)
        assert bracket(first + 0.5 * way, [first, first + way]).column == NUMBERS


@pytest.mark.parametrize("way", [own_way(), hidden_way()], ids=["own", "hidden"])
def test_a_point_a_little_off_the_middle_is_close(way: Vector) -> None:
    """A thief who blinds his places by a few hundredths still halves, and chains as before."""
    first = record()
    found = bracket(first + 0.53 * way, [first, first + way])
    assert (found.middle, found.close, found.chained) == (False, True, False)
    found = bracket(first + 0.28 * way, [first, first + way, first + 0.53 * way])
    assert (found.middle, found.close, found.chained) == (False, True, True)
    assert not bracket(first + 0.6 * way, [first, first + way]).close


@pytest.mark.parametrize("way", [own_way(), hidden_way()], ids=["own", "hidden"])
def test_a_search_descends_as_long_as_its_latest_query_is_an_end(way: Vector) -> None:
    """A query of another record does not interrupt it, one of the other half does."""
    first = record()
    earlier = [first, first + way, first + 0.5 * way, record(4)]
    assert bracket(first + 0.25 * way, earlier).descends
    assert not bracket(first + 0.75 * way, [*earlier, first + 0.25 * way]).descends


Answer = Callable[[Vector], tuple[int, float]]
REACH = 8000.0


def standing(values: dict[int, float]) -> Vector:
    """Return a record with these values in some of its columns."""
    row = record(3)
    for column, value in values.items():
        row[column] = np.rint(value)
    return row


def evidence(rows: list[Vector], answer: Answer) -> float:
    """Return the evidence of channel `bisect` from the first records that a client asks about."""
    rows = rows[:60]
    given = [answer(row) for row in rows]
    confidence = np.array([sure for _, sure in given], np.float32)
    seen = shown(np.rint(rows).astype(np.int16), [label for label, _ in given], confidence=confidence, table=True)
    state, slot, peak = allocate(AccumulatedEvidence, 1), np.zeros(len(rows), np.int64), np.zeros_like(seen.ratio)
    accumulate(state, slot, seen.ratio, np.zeros(len(rows), np.uint8), seen.repeat, peak)
    return float(peak[-1, BISECT])


def halvings(column: int, times: int, higher: Callable[[float], bool], others: dict[int, float] | None = None) -> list[Vector]:
    """Return the records of one search along a column for where `higher` ends."""
    low, high = -REACH, REACH
    places = [low, high]
    for _ in range(times):
        places.append((low + high) / 2.0)
        low, high = (places[-1], high) if higher(places[-1]) else (low, places[-1])
    return [standing((others or {}) | {column: place}) for place in places]


def refined(column: int, finest: int) -> list[Vector]:
    """Return the records of a curve from end to end of a column, drawn in half the step again and again."""
    places: list[float] = []
    steps = 5
    while steps <= finest:
        places += [place for place in np.linspace(-REACH, REACH, steps).tolist() if place not in places]
        steps = 2 * steps - 1
    return [standing({column: place}) for place in places]


def smooth(row: Vector) -> tuple[int, float]:
    """Answer with one label and a score that rises with column 2."""
    return 0, 0.75 + 0.2 * float(np.tanh(row[2] / 6000.0))


def leaves(row: Vector) -> tuple[int, float]:
    """Answer like a tree that cuts column 2 at twelve places and gives one label."""
    cuts = np.sort(np.random.default_rng(1).uniform(-REACH, REACH, 12))
    return 0, 0.6 + 0.02 * float(np.searchsorted(cuts, row[2]))


def granted(row: Vector) -> tuple[int, float]:
    """Answer with a label alone, where three columns have a limit each."""
    return int(row[2] > 1234.0) + 2 * int(row[5] > -777.0) + 4 * int(row[7] > 4321.0), math.nan


def path(answer: Answer) -> list[Vector]:
    """Return the records of path finding along column 2: each bracket with different answers is halved, the latest first."""
    places, brackets = [-REACH, REACH], [(-REACH, REACH)]
    while brackets:
        low, high = brackets.pop()
        if high - low < 20.0 or answer(standing({2: low})) == answer(standing({2: high})):
            continue
        places.append((low + high) / 2.0)
        brackets += [(low, places[-1]), (places[-1], high)]
    return [standing({2: place}) for place in places]


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        (halvings(2, 11, lambda place: smooth(standing({2: place}))[1] < 0.9), smooth),
        (halvings(2, 11, lambda place: leaves(standing({2: place}))[1] < 0.7), leaves),
        (refined(2, 33), smooth),
        (refined(2, 33), leaves),
        (halvings(2, 6, lambda place: place <= 1234.0) + halvings(5, 6, lambda place: place <= -777.0, {2: 2000.0}), granted),
    ],
    ids=["score", "score of a tree", "curve", "curve of a tree", "two amounts"],
)
def test_people_who_halve_by_hand_are_not_stopped(rows: list[Vector], answer: Answer) -> None:
    """Goals that are looked for in one column or two, and curves that are refined."""
    assert evidence(rows, answer) < CHANNEL.floor


def test_searches_for_leaves_and_in_many_columns_are_stopped() -> None:
    """Path finding within one column and one label, and a third column between labels, from its first halvings on."""
    assert evidence(path(leaves)[:16], leaves) >= CHANNEL.floor
    assert evidence(path(smooth), smooth) >= CHANNEL.floor
    limits = {2: 1234.0, 5: -777.0, 7: 4321.0}
    searches = [row for k in limits for row in halvings(k, 6, lambda place, k=k: place <= limits[k])]  # type: ignore[misc]
    assert evidence(searches, granted) >= CHANNEL.floor


def search_after(edited: dict[int, float], columns: int, *, known: bool, elsewhere: bool = False, times: int = 9) -> float:
    """Return the evidence of a client that edits a record, then halves between its column 2 and another value there.

    With two `columns` it halves column 5 after that. The values are those of a record that was asked about before, if they are
    `known`. It halves so many `times`, `elsewhere` from the record before it was edited.
    """
    other = record(9)
    for column, value in {**edited, 2: REACH}.items():
        other[column] = value
    rows = [other if known else record(8), standing({})]
    rows += [standing(dict(list(edited.items())[:place])) for place in range(1, len(edited) + 1)]
    limit = 3000.0 + standing({})[5]

    def turned(row: Vector) -> bool:
        return bool(row[2] + row[5] > limit)

    for column, end in [(2, REACH), (5, -REACH)][:columns]:
        last = rows[-1]
        rows.append(put(last, column, end))
        if elsewhere and column == 2:
            last = standing({})
            rows.append(put(last, column, end))
        ends = sorted([last, rows[-1]], key=turned)
        for _ in range(times):
            rows.append(put(ends[0], column, float(np.rint((ends[0][column] + ends[1][column]) / 2.0))))
            ends[turned(rows[-1])] = rows[-1]
        rows.append(ends[1])
    return evidence(rows, lambda row: (int(turned(row)), math.nan))


def put(row: Vector, column: int, value: float) -> Vector:
    """Return the record with another value in one column."""
    changed = row.copy()
    changed[column] = value
    return changed


def test_a_search_of_the_step_that_a_way_led_to_is_stopped_at_once() -> None:
    """Lowd and Meek turn one record into another, and halve the step that turned the label."""
    edited = {1: 1500.0, 4: 2500.0}
    assert search_after(edited, 1, known=True, times=0) == 0.0
    assert search_after(edited, 1, known=True, times=3) >= CHANNEL.floor


def test_a_search_elsewhere_is_stopped_in_its_second_column() -> None:
    """An explainer says how much a record would have needed in one column. A person has values of his own."""
    edited = {1: 1500.0, 4: 2500.0}
    assert search_after(edited, 2, known=True, elsewhere=True) >= CHANNEL.floor
    assert search_after(edited, 1, known=True, elsewhere=True) < CHANNEL.floor
    assert search_after(edited, 1, known=False) < CHANNEL.floor


def test_a_search_off_the_middle_keeps_some_weight() -> None:
    """Its points count less than those in the middle, but not against it."""
    places = [-REACH, REACH, 480.0, -3870.0, -1600.0, -500.0]
    rows = [standing({2: place}) for place in places]
    found = evidence(rows, lambda row: (int(row[2] > -300.0), math.nan))
    assert 0.5 < found < evidence(halvings(2, 4, lambda place: place <= -300.0), lambda row: (int(row[2] > -300.0), math.nan))
