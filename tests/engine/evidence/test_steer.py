"""Searches that cut anywhere go where the answer tells them; fades, sliders and mixtures do not."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from detector.engine.evidence.steer import (
    FOLLOWS,
    TURNS_KEPT,
    bet,
    habit_after,
    may_cut,
    may_cut_records,
    place_on_ray,
    read_line,
)

Vector = npt.NDArray[np.float64]
COORDINATES = 24
LEVEL = np.zeros(COORDINATES, np.float32)
SHARP = np.ones(COORDINATES, np.float32)
TOLERANCE = 0.05


class Client:
    """Reads each query against those before; all of them are retained, and the latest on the line is the start."""

    def __init__(self, numbers: int = 0) -> None:
        self.numbers = numbers
        self.points: list[Vector] = []
        self.labels: list[int] = []
        self.kinds: list[int] = []
        self.shares: list[float] = []
        self.onward: list[bool] = []

    def ask(self, point: Vector, label: int, start: int = -1) -> None:
        n = len(self.points)
        if n >= 2:
            z = np.array(self.points).round().astype(np.int16).T.copy()
            kind, onward, share, *_ = read_line(
                point.round().astype(np.float32),
                z,
                SHARP,
                (z[:4] - point.round()[:4, None]).astype(np.float32),
                np.square(z - point.round()[:, None]).sum(axis=0).astype(np.float32),
                np.array(self.labels, np.int32),
                np.arange(n, dtype=np.uint32),
                n,
                start % n,
                self.numbers,
                LEVEL,
                TOLERANCE,
                1.0,
            )
            self.kinds.append(kind)
            self.shares.append(share)
            self.onward.append(onward)
        self.points.append(point)
        self.labels.append(label)


def ends(seed: int) -> tuple[Vector, Vector]:
    """Return two far inputs."""
    one, other = np.random.default_rng(seed).normal(size=(2, COORDINATES)) * 3000
    return one, other


@pytest.mark.parametrize("numbers", [0, 12])
@pytest.mark.parametrize("cut", [lambda _: 0.5, lambda _: 0.382, lambda rng: rng.uniform(0.1, 0.9)])
@pytest.mark.parametrize("seed", range(4))
def test_every_cut_of_a_search_is_inside_its_bracket(
    seed: int, cut: Callable[[np.random.Generator], float], numbers: int
) -> None:
    """Wherever it cuts, from the second cut on; the client turns back about as often as it goes on."""
    rng = np.random.default_rng(seed)
    first, second = ends(seed)
    client, turn = Client(numbers), rng.uniform(0.2, 0.8)
    client.ask(first, 0)
    client.ask(second, 1)
    low, high = 0.0, 1.0
    for _ in range(5):
        at = low + cut(rng) * (high - low)
        label = int(at > turn)
        client.ask(first + at * (second - first), label)
        low, high = (low, at) if label else (at, high)
    assert client.kinds == [0, 1, 1, 1, 1]
    assert all(share < 0.95 for share in client.shares[1:])


@pytest.mark.parametrize("numbers", [0, 12])
def test_a_fade_goes_on_and_leaves_the_bracket_once_the_label_turned(numbers: int) -> None:
    """From end to end in equal steps: all in one direction, and beyond the turn none is a search's."""
    first, second = ends(1)
    client = Client(numbers)
    client.ask(second, 1)
    client.ask(first, 0)
    for at in np.linspace(0.1, 0.9, 9):
        client.ask(first + at * (second - first), int(at > 0.45))
    assert client.kinds[0] == 0  # from the end of the line
    assert client.kinds[1:5] == [1, 1, 1, 1]  # as far as the label has not turned
    assert all(client.onward[2:5])
    assert client.kinds[5] == -1
    assert 1 not in client.kinds[5:]


def test_a_leap_over_an_earlier_query_leaves_the_bracket() -> None:
    """A slider set anywhere goes past queries of its own."""
    first, second = ends(2)
    client = Client()
    client.ask(first, 0)
    client.ask(second, 1)
    for at in (0.5, 0.7, 0.3):
        client.ask(first + at * (second - first), int(at > 0.6))
    assert client.kinds == [0, 1, -1]


def test_points_off_the_line_and_lines_of_one_label_tell_nothing() -> None:
    """Nor does a bracket that a later query has cut already."""
    first, second = ends(3)
    aside = np.random.default_rng(9).normal(size=COORDINATES) * 600
    for labels, off in (((0, 1, 0), aside), ((0, 0, 0), 0.0 * aside)):
        client = Client()
        client.ask(first, labels[0])
        client.ask(second, labels[1])
        client.ask(first + 0.5 * (second - first), labels[2])
        client.ask(first + 0.75 * (second - first) + off, 0)
        assert client.kinds == [0, 0]
    client = Client()
    client.ask(first, 0)
    client.ask(second, 1)
    client.ask(first + 0.5 * (second - first), 0)
    client.ask(first + 0.75 * (second - first), 0)
    client.ask(first + 0.6 * (second - first), 0, start=2)
    assert client.kinds[-1] == 0


def test_records_need_several_numbers_that_move() -> None:
    """A calculator that halves an amount, or two, makes no such line."""
    first = np.random.default_rng(4).normal(size=COORDINATES) * 3000
    for moved, kinds in ((2, [0, 0]), (3, [0, 1])):
        second = first.copy()
        second[:moved] += 2000.0
        client = Client(numbers=12)
        client.ask(first, 0)
        client.ask(second, 1)
        client.ask(first + 0.5 * (second - first), 0)
        client.ask(first + 0.75 * (second - first), 1)
        assert client.kinds == kinds


def test_a_place_is_where_the_point_lies_in_steps() -> None:
    """Behind, between and beyond; NaN off the line, and where a step is below rounding."""
    first, second = ends(5)
    query = first + 0.25 * (second - first)
    ray = [
        place_on_ray(
            first.astype(np.float32),
            query.astype(np.float32),
            (first + at * (second - first)).astype(np.float32),
            0,
            LEVEL,
            TOLERANCE,
            1.0,
        )
        for at in (-0.5, 0.125, 1.0)
    ]
    assert ray == pytest.approx([-2.0, 0.5, 4.0], rel=1e-3)
    near = (first + 1.0 / np.sqrt(COORDINATES)).astype(np.float32)
    short = place_on_ray(first.astype(np.float32), near, second.astype(np.float32), 0, LEVEL, TOLERANCE, 1.0)
    assert np.isnan(short)


def test_quick_tests_never_rule_a_cut_out() -> None:
    """What lies between two others passes in a few coordinates, and other queries seldom do."""
    rng = np.random.default_rng(6)
    passed = [0, 0, 0]
    for _ in range(200):
        z = rng.normal(size=(COORDINATES, 20)) * 3000
        for turn, at in enumerate((0.3, None)):
            query = rng.normal(size=COORDINATES) * 3000
            if at is not None:
                z[:, 2] = z[:, 0] + 0.5 * (z[:, 1] - z[:, 0])
                query = z[:, 0] + at * (z[:, 1] - z[:, 0])
            across = (z[:4] - query[:4, None]).astype(np.float32)
            squares = np.square(z - query[:, None]).sum(axis=0).astype(np.float32)
            passed[turn] += may_cut(across, squares, 20, 2, TOLERANCE, 1.0)
            if at is not None:
                passed[2] += may_cut_records(query.astype(np.float32), z.astype(np.int16), 20, 2, 12, LEVEL)
    assert passed[0] == passed[2] == 200
    assert passed[1] < 20


def test_bets_are_worth_less_where_a_habit_or_the_room_explains_them() -> None:
    """Who always goes on, or has little room elsewhere, shows nothing; who turned back as often shows what a coin does."""
    assert bet(0, 0, True, 0.1) == pytest.approx(np.log(FOLLOWS / 0.5))
    assert bet(TURNS_KEPT, TURNS_KEPT, True, 0.1) <= 0.0
    assert bet(0, 0, False, 0.95) < 0.0
    assert bet(0, TURNS_KEPT, True, 0.1) > bet(0, TURNS_KEPT, False, 0.1)


def test_the_habit_is_that_of_the_latest_moves() -> None:
    """Two counts in a byte, that never overflow."""
    ways = np.uint8(0)
    for _ in range(100):
        ways = habit_after(ways, True)
    assert int(ways) >> 4 == int(ways) & TURNS_KEPT
    for _ in range(100):
        ways = habit_after(ways, False)
    assert int(ways) >> 4 == 0
