import numpy as np
import pytest

from detector.redteam.conversation import Array, AskedQuery, Conversation
from tests.redteam.oracle import Asked, Refuses, Tactic, adapting, converse_guarded


def _thief(heard: list[float], end: int = 1000) -> Conversation:
    for step in range(end):
        answer = yield AskedQuery(np.array([step / 1000.0]), synthetic=True)
        heard.append(float(answer[0]))


def _predict(X: Array) -> Array:
    return np.hstack([X, 1.0 - X])


def _play(tactic: Tactic, refuses: Refuses, budget: int = 200, heard: list[float] | None = None) -> tuple[Asked, ...]:
    thief = adapting(_thief([] if heard is None else heard), tactic, np.random.default_rng(0), (0.0, 1.0), accounts=5)
    return converse_guarded(thief, _predict, refuses, budget)


def _never(account: int, query: AskedQuery, moment: float) -> bool:
    del account, query, moment
    return False


def _always(account: int, query: AskedQuery, moment: float) -> bool:
    del account, query, moment
    return True


@pytest.mark.parametrize("tactic", ["change_account", "back_off", "perturb"])
def test_unhindered_he_asks_what_the_attack_asks(tactic: Tactic) -> None:
    """Without refusals the tactic leaves no trace."""
    asked = _play(tactic, _never, budget=50)
    assert [one.attempt.query.vector[0] for one in asked] == [step / 1000.0 for step in range(50)]
    assert {(one.attempt.account, one.attempt.wait) for one in asked} == {(0, 0.0)}
    assert all(one.answer is not None for one in asked)


def test_a_blocked_account_is_changed_and_the_same_is_asked_again() -> None:
    """Each account is used up after ten queries; the thief loses no answer, and ends with his last account."""
    counts = np.zeros(5)

    def refuses(account: int, query: AskedQuery, moment: float) -> bool:
        del query, moment
        counts[account] += 1
        return bool(counts[account] > 10)

    heard: list[float] = []
    asked = _play("change_account", refuses, heard=heard)
    assert heard == [step / 1000.0 for step in range(50)]
    assert len(asked) == 55
    assert [one.attempt.account for one in asked if one.answer is None] == [0, 1, 2, 3, 4]


def test_backing_off_waits_longer_each_time_until_it_is_let_through() -> None:
    """Against a limit of one query a minute, waits double and the refused query is answered later."""
    last = [-60.0]

    def refuses(account: int, query: AskedQuery, moment: float) -> bool:
        del account, query
        if moment - last[0] < 60.0:
            return True
        last[0] = moment
        return False

    heard: list[float] = []
    asked = _play("back_off", refuses, budget=60, heard=heard)
    assert heard == sorted(heard)
    assert len(heard) > 20
    assert max(one.attempt.wait for one in asked) >= 60.0


def test_perturbing_asks_something_else_near_the_last_accepted_query() -> None:
    """A guard that knows the exact grid is passed by queries off the grid, which stay in range."""

    def refuses(account: int, query: AskedQuery, moment: float) -> bool:
        del account, moment
        value = 1000.0 * float(query.vector[0])
        return 5.0 <= value == round(value)

    asked = _play("perturb", refuses, budget=100)
    passed = [one for one in asked if one.answer is not None]
    assert len(passed) > 45
    assert all(0.0 <= one.attempt.query.vector[0] <= 1.0 for one in asked)


@pytest.mark.parametrize("tactic", ["back_off", "perturb"])
def test_who_is_stopped_for_good_gives_up(tactic: Tactic) -> None:
    """After eight refusals of one query the conversation ends."""
    asked = _play(tactic, _always)
    assert len(asked) == 8
    assert all(one.answer is None for one in asked)
