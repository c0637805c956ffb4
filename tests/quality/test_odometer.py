"""The comparison of the odometer with the truth."""

import numpy as np

from detector.engine.odometer.reading import Reading
from tests.quality.odometer import Point, Stream, chosen, shown, spread, tell


def at(queries: int, lead: float = 0.5) -> Reading:
    return Reading(queries, lead, lead, lead - 0.1, lead + 0.1)


def test_readings_are_chosen_at_moments_and_at_the_end() -> None:
    """Each once, and the last one for moments beyond it."""
    readings = [at(n) for n in (32, 48, 64, 71, 130, 200)]
    assert [reading.queries for reading in chosen(readings)] == [32, 64, 130, 200]
    assert chosen([]) == []


def test_the_highest_lead_is_shown() -> None:
    """A later reading that is lower does not take it away."""
    found = shown([at(32, 0.2), at(48, 0.6), at(64, 0.4)])
    assert [(one.queries, one.lead) for one in found] == [(32, 0.2), (48, 0.6), (64, 0.6)]
    assert shown([]) == []


def test_a_line_says_how_well_leads_and_truths_agree() -> None:
    """Correlation, error, bias and how many truths lie in their intervals."""
    found = [Point("c", "f", "label", at(32, lead), lead + 0.05) for lead in (0.2, 0.4, 0.6, 0.8)]
    line = tell("all", [*found, Point("c", "f", "label", at(32, 0.3), 0.9)])
    assert "n    5" in line
    assert "in the interval 80%" in line
    assert "bias -0.160" in line


def test_forms_tell_less_and_less() -> None:
    """Fifths keep the label's size at most; a label is one of its own."""
    stream = Stream("f", np.zeros((1, 2), np.float32), np.zeros(1, np.int32), np.array([[0.13, 0.87]]))
    assert stream.told("probabilities").tolist() == [[0.13, 0.87]]
    np.testing.assert_allclose(stream.told("fifths"), [[0.2, 0.8]])
    assert stream.told("label").tolist() == [[0, 1]]
    assert spread(list("abcdefghijk")) == ["a", "c", "e", "g", "i"]
