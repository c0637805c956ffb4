"""Remarks: the headline and the advice fit what happened."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.offline.explain.conftest import Day


def test_a_headline_names_what_called_for_the_level(day: "Day") -> None:
    """Construction for a thief, a foreign kind for a stranger, nothing for a reader, who needs no advice either."""
    assert "bisect called for block" in day.explain("thief").headline
    assert "foreign called for throttle" in day.explain("stranger").headline
    quiet = day.explain("reader-0")
    assert quiet.headline.startswith("Nothing stands out")
    assert quiet.advice == ("Nothing needs to be done.",)
    assert any("lift what is in force" in line for line in day.explain("thief").advice)
