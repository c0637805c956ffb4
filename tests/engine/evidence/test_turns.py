"""Turns: what a turn is worth, and which turns are not judged."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.evidence.turns import (
    CHANNEL,
    DISTANCES,
    LEAST,
    MOST,
    NEAREST,
    OFTEN,
    SELDOM,
    SURE,
    UNDECIDED,
    UNKNOWN,
    distance_class,
    margin_class,
    turn_ratio,
)
from detector.engine.fitting.turns import LEAST_RATE

rates = st.floats(LEAST_RATE, SELDOM)


@given(rates)
def test_a_turn_speaks_for_a_search_and_none_against_it(usual: float) -> None:
    """Within the limits that the channel declares; the mean over benign pairs is 1."""
    turned, stayed = float(turn_ratio(usual, True)), float(turn_ratio(usual, False))
    assert stayed < 1.0 < turned
    assert math.exp(LEAST) <= stayed * 1.001
    assert turned <= math.exp(MOST)
    assert usual * turned + (1 - usual) * stayed == pytest.approx(1.0, abs=1e-5)


@given(rates, rates)
def test_a_rarer_turn_proves_more(one: float, other: float) -> None:
    """However the rates lie."""
    low, high = sorted((one, other))
    assert float(turn_ratio(low, True)) >= float(turn_ratio(high, True)) * (1 - 1e-6)


@given(rates)
def test_a_search_gathers_evidence(usual: float) -> None:
    """Its labels turn every other time, wherever it is judged."""
    worth = OFTEN * math.log(turn_ratio(usual, True)) + (1 - OFTEN) * math.log(turn_ratio(usual, False))
    assert worth > 0.0


@pytest.mark.parametrize("usual", [SELDOM + 0.01, 0.5, 1.0])
@pytest.mark.parametrize("turned", [False, True])
def test_where_benign_labels_turn_often_nothing_is_said(usual: float, *, turned: bool) -> None:
    """So a model whose labels turn everywhere, or one without learned rates, makes no evidence."""
    assert turn_ratio(usual, turned) == 1.0


def test_classes_of_distance_double() -> None:
    """From the nearest on; what lies beyond the last class is not near."""
    ends = NEAREST * 2.0 ** np.arange(DISTANCES)
    assert [distance_class(end * 0.999) for end in ends] == list(range(DISTANCES))
    assert [distance_class(end * 1.001) for end in ends] == list(range(1, DISTANCES + 1))


def test_classes_of_margin() -> None:
    """Answers without probabilities have a class of their own."""
    assert [margin_class(margin) for margin in (0.0, 1.4, 1.6, 9.0, math.nan)] == [UNDECIDED, UNDECIDED, SURE, SURE, UNKNOWN]


def test_it_may_throttle_and_keeps_company() -> None:
    """Novelty by itself."""
    assert not CHANNEL.may_stop
    assert "bisect" in CHANNEL.company
