from dataclasses import replace
from typing import Any

from tests.quality.cells import summed
from tests.quality.scenario import Goal, Innocence, Limits, Theft

THEFT = Theft("t", "digits", "mlp", "jbda", Goal("stop", 10, share=0.5, tolerance=0.0))
INNOCENCE = Innocence("i", "digits", "mlp", "video", "known", Limits(alert=0.25, throttle=0.0, stop=0.0))


def _at(after: int) -> dict[str, int]:
    return {"queries": after + 20, "after": after, "synthetic": after}


def _theft(*moments: dict[str, int] | None) -> dict[str, Any]:
    return {
        "moments": {"ours/stop": list(moments), "ours/alert": list(moments), "prada/calibrated": [None] * len(moments)},
        "evidence": {"stop": {"offset": 1}},
        "copies": {"ours/stop": [0.5, 0.7]},
        "whole": [0.8, 0.9],
        "bystanders": 0,
        "caught": {"stop": 0},
        "asked": [600] * len(moments),
        "made": [580] * len(moments),
        "learned": [],
        "seconds": 1.0,
        "wire": "uint8 / full",
    }


def test_thieves_met_in_time_are_those_within_the_goal() -> None:
    """Who is met after the goal is met ever, but not in time; the target follows from those in time."""
    cell = summed(THEFT, _theft(_at(4), _at(11), None, None))
    stop = cell["detectors"]["ours/stop"]
    assert (stop["within"]["count"], stop["ever"]["count"]) == (1, 2)
    assert not cell["met"]
    assert summed(THEFT, _theft(_at(4), _at(10), None, None))["met"]


def test_never_is_null_and_late() -> None:
    """With half of the thieves never met the median is there only if more than half are."""
    detectors = summed(THEFT, _theft(_at(4), _at(6), None))["detectors"]
    assert detectors["ours/stop"]["queries"] == {"median": 26.0, "low": 24.0, "high": None}
    assert detectors["prada/calibrated"]["queries"]["median"] is None
    assert detectors["prada/calibrated"]["ever"]["share"] == 0.0


def test_the_copy_is_measured_at_the_moment_and_at_the_end() -> None:
    """The means of what was bought until then, and of what the whole budget buys; none where none was trained."""
    cell = summed(THEFT, _theft(_at(4)))
    assert (cell["detectors"]["ours/stop"]["copy"], cell["copy_whole"]) == (0.6, 0.85)
    assert cell["detectors"]["prada/calibrated"]["copy"] is None


def test_an_innocent_cell_keeps_every_limit_or_is_not_met() -> None:
    """Alerts within their limit are fine, one stop is not."""
    played = {"sessions": 4, "queries": 400, "met": {"ours/alert": 1, "ours/throttle": 0, "ours/stop": 0}, "evidence": {}}
    played |= {"seconds": 1.0, "wire": "uint8 / full"}
    assert summed(INNOCENCE, played)["met"]
    stopped = summed(INNOCENCE, {**played, "met": {"ours/alert": 1, "ours/throttle": 1, "ours/stop": 1}})
    assert not stopped["met"]
    assert stopped["detectors"]["ours/stop"]["false"]["share"] == 0.25


def test_what_could_not_be_played_says_so() -> None:
    """The error is the cell."""
    assert summed(replace(THEFT), {"error": "no pictures"})["error"] == "no pictures"
