"""Which steps count as arrived, when they are said to have, and what an innocent may suffer."""

from itertools import repeat

import numpy as np
import pytest

from detector.drill.caller import Attempt, Caller
from detector.drill.outcome import Bystander, Outcome, Seen, arrivals, bystander, drilled
from detector.drill.plan import Login, Part
from detector.drill.telling import markdown
from detector.drill.watch import Sighting
from detector.redteam.endpoint import Reply
from detector.redteam.play import Player
from detector.redteam.wire import DIRECT

PART = Part("jbda", Login("th|ief", {}))


def _caller(*attempts: Attempt) -> Caller:
    player = Player("one", "jbda", True, (_ for _ in ()), repeat(1.0), 9, 0.0)  # type: ignore[arg-type]
    return Caller(player, lambda _: Reply(200, np.zeros((1, 2))), DIRECT, 1.0, attempts=list(attempts))


def _decision(action: str = "throttle", *, simulated: bool = False) -> Sighting:
    return Sighting("decision", f"{action}{simulated}", frozenset({"thief"}), action, action, 0, simulated=simulated)  # type: ignore[arg-type]


def test_seconds_and_queries_count_from_the_first_query() -> None:
    """Of each step the first counts."""
    caller = _caller(Attempt(100.0, 200), Attempt(101.0, 200), Attempt(102.0, 403))
    alert = Sighting("alert", "a", frozenset({"thief"}), "alert", "offset", 0, 2)
    found = arrivals(caller, [Seen(101.5, alert), Seen(101.7, _decision("block"))], decisions_watched=True)
    assert [(one.step, one.seconds, one.queries) for one in found] == [
        ("alert", 1.5, 2),
        ("decision", 1.7, 2),
        ("enforced", 2.0, 3),
    ]
    assert found[0].detector_queries == 2
    overtaken = arrivals(caller, [Seen(100.5, alert)], decisions_watched=True)[0]  # by the reply to the second query
    assert (overtaken.queries, overtaken.detector_queries) == (2, 2)
    assert arrivals(_caller(), [], decisions_watched=True) == ()


@pytest.mark.parametrize(
    ("seen", "watched", "felt"),
    [
        ([], False, 2),
        ([], True, None),
        ([Seen(101.9, _decision())], True, 2),
        ([Seen(110.0, _decision())], True, None),
        ([Seen(101.0, _decision(simulated=True))], True, None),
    ],
)
def test_a_ceiling_for_everybody_is_no_throttle(seen: list[Seen], watched: bool, felt: int | None) -> None:
    """A 429 counts from a real decision on, where decisions are watched."""
    caller = _caller(Attempt(100.0, 200), Attempt(101.0, 429), Attempt(102.0, 200))
    found = {one.step: one.queries for one in arrivals(caller, seen, decisions_watched=watched)}
    assert found.get("enforced") == felt


def test_a_real_decision_counts_before_a_simulated_one() -> None:
    """Though it came later; and a decision that only alerts is none."""
    caller = _caller(Attempt(100.0, 200))
    seen = [Seen(100.1, _decision(simulated=True)), Seen(100.2, _decision("alert")), Seen(100.3, _decision("block"))]
    (found,) = arrivals(caller, seen, decisions_watched=True)
    assert (found.told, found.simulated, found.seconds) == ("block", False, 0.3)
    (found,) = arrivals(caller, seen[:1], decisions_watched=True)
    assert found.told == "throttle, simulated"


def test_an_innocent_is_left_alone_or_not() -> None:
    """An alert is enough."""
    part = Part("steady", Login("good", {}))
    calm = bystander(part, _caller(Attempt(1.0, 200)), [])
    assert calm.left_alone
    alert = Sighting("alert", "a", frozenset({"good"}), "alert", "novelty", 0, 9)
    assert not bystander(part, _caller(Attempt(1.0, 200)), [Seen(1.0, alert)]).left_alone
    assert not bystander(part, _caller(Attempt(1.0, 429)), []).left_alone
    assert not bystander(part, _caller(Attempt(1.0, 200, coarse=True)), []).left_alone


def test_the_report_names_what_is_missing() -> None:
    """In sentences, and in Markdown whose tables hold."""
    caller = _caller(Attempt(100.0, 200))
    caller.varies = True
    thief = drilled(PART, caller, (), ("alert", "enforced"))
    assert thief.missing == ("alert", "enforced")
    beside = Bystander("steady", "good", 3, 2, 1, 0, ("novelty\n| x",), ())
    outcome = Outcome(
        "http://here", 1, "2026-01-01", 5.0, 60.0, ("alert", "enforced"), (thief,), (beside,), 2, 3, interrupted=True
    )
    assert outcome.problems == (
        "th|ief: no alert arrived",
        "th|ief: nothing was refused to him or kept from him",
        "good, an innocent, was not left alone",
    )
    text = markdown(outcome)
    assert "# Drill: not as expected" in text
    assert "INTERRUPTED" in text
    assert "3 alerts or decisions are older than the drill" in text
    assert "2 records were no alert or decision" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.replace("\\|", "").count("|") for row in rows} == {7, 10}
    assert "answers vary" in text
