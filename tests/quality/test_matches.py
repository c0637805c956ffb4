import numpy as np
import pytest

from tests.quality.matches import Moment, moment
from tests.quality.observed import Found, Log


def _log(players: list[int], clients: list[str], synthetic: list[bool], cover: list[bool]) -> Log:
    places = {name: np.flatnonzero([client == name for client in clients]) for name in dict.fromkeys(clients)}
    return Log((), {}, places, np.array(players), np.array(synthetic), np.array(cover))


LOG = _log(
    players=[0, 1, 0, 0, 1, 0, 0],
    clients=["a", "x", "b", "a", "x", "b", "a"],
    synthetic=[False, False, False, True, False, True, True],
    cover=[True, False, False, False, False, False, False],
)
ALONE = _log([0, 0, 0, 0], ["a"] * 4, [False, True, False, True], [False] * 4)


@pytest.mark.parametrize(
    ("place", "wanted"), [(0, Moment(1, 0, 0)), (1, Moment(2, 1, 1)), (2, Moment(3, 2, 1)), (3, Moment(4, 3, 2))]
)
def test_queries_are_counted_in_three_ways(place: int, wanted: Moment) -> None:
    """All of them, those from the first synthetic one on, and the synthetic ones."""
    assert moment(ALONE, [Found(place, "")]) == wanted


def test_a_thief_is_met_once_half_of_his_accounts_are() -> None:
    """The first of two accounts is half; what others asked in between is not his."""
    assert moment(LOG, [Found(5, ""), Found(6, "")]) == Moment(queries=4, after=2, synthetic=2)
    three = _log([0, 0, 0], ["a", "b", "c"], [True] * 3, [False] * 3)
    assert moment(three, [Found(2, "")]) is None
    assert moment(three, [Found(2, ""), Found(0, "")]) == Moment(3, 3, 3)


def test_innocents_that_are_met_do_not_count() -> None:
    """A thief is not met because somebody beside him is."""
    assert moment(LOG, [Found(1, "")]) is None


def test_without_synthetic_queries_the_first_own_one_counts() -> None:
    """A thief with natural data begins with his first query that is no cover."""
    natural = _log([0, 0, 0, 0], ["a"] * 4, [False] * 4, [True, False, True, False])
    assert moment(natural, [Found(3, "")]) == Moment(queries=4, after=3, synthetic=0)
