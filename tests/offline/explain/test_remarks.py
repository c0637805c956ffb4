"""Remarks: the headline and the advice fit what happened."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.offline.explain.conftest import Day


def test_a_headline_names_what_called_for_the_level(day: "Day") -> None:
    """Construction for a thief, novelty or foreign for a stranger, nothing for a reader, who needs no advice either."""
    assert "bisect called for block" in day.explain("thief").headline
    stranger = day.explain("stranger").headline
    assert stranger.startswith("Queries unlike those of benign clients: ")
    assert " called for throttle at query " in stranger
    quiet = day.explain("reader-0")
    assert quiet.headline.startswith("Nothing stands out")
    assert quiet.advice == ("Nothing needs to be done.",)
    assert any("lift what is in force" in line for line in day.explain("thief").advice)
