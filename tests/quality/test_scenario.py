from hypothesis import given
from hypothesis import strategies as st

from tests.quality.scenario import Goal, Innocence, Limits, Part, Theft

SHARES = st.floats(0.0, 1.0)


@given(share=SHARES, more=SHARES, asked=SHARES)
def test_who_meets_a_goal_meets_it_with_more(share: float, more: float, asked: float) -> None:
    """A larger share never turns a goal that was met into one that is missed."""
    goal = Goal("stop", 50, share=asked)
    assert goal.met(max(share, more)) or not goal.met(share)


@given(share=SHARES, less=SHARES, limit=SHARES)
def test_who_keeps_a_limit_keeps_it_with_less(share: float, less: float, limit: float) -> None:
    """A smaller share never turns a limit that was kept into one that is passed."""
    limits = Limits(alert=limit, throttle=limit, stop=limit)
    assert limits.met("alert", min(share, less)) or not limits.met("alert", share)


def test_each_action_has_its_own_limit() -> None:
    """A share that is fine for alerts is not for stops."""
    limits = Limits(alert=0.1, throttle=0.05, stop=0.0)
    assert [limits.met(action, 0.05) for action in ("alert", "throttle", "stop")] == [True, True, False]


def test_only_a_profile_left_out_is_taken_from_the_past() -> None:
    """Known profiles stay in the benign past when they are judged as such, the others were never there."""
    parts: tuple[Part, ...] = ("known", "left-out", "frozen", "later")
    cells = [Innocence("x", "digits", "mlp", "video", part, Limits(0, 0, 0)) for part in parts]
    assert [cell.without for cell in cells] == [None, "video", None, None]


def test_a_world_is_named_by_data_and_victim() -> None:
    """Cells of one model are recognised by the same name, thefts and innocents alike."""
    theft = Theft("a", "loans", "forest", "uniform", Goal("alert", 10))
    innocence = Innocence("b", "loans", "forest", "tab_steady", "known", Limits(0, 0, 0))
    assert theft.simulation == innocence.simulation == "loans-forest"
