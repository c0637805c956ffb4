"""What innocents of a calibration log show decides what events are worth, and from which evidence on groups are stopped."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.links.evidence import BESIDE, STRONG, WEIGHTS
from detector.engine.links.seeking.search import HALVED, KINDS, NEIGHBOUR, NOTHING, OFFSET, STEP
from detector.engine.links.usual import EVENTS, HIGH_BAR, LARGEST, LOW_BAR, bars_of, worth_of


def shown(queries: int, events: int, largest: float = 0.0) -> np.ndarray:
    usual = np.zeros((KINDS, 2))
    usual[NOTHING, EVENTS] = queries
    usual[OFFSET] = (events, largest)
    return usual


@given(queries=st.integers(0, 10**7), events=st.integers(0, 10**5), more=st.integers(1, 10**5))
def test_the_more_innocents_show_it_the_less_it_is_worth(queries: int, events: int, more: int) -> None:
    less, usual = (worth_of(shown(queries, count)).weights for count in (events + more, events))
    assert less[OFFSET] <= usual[OFFSET] <= WEIGHTS[OFFSET]
    assert less[OFFSET] == 0.0 or less[OFFSET] >= BESIDE
    assert less[HALVED] == less[NEIGHBOUR] + 3.0 == WEIGHTS[HALVED]


def test_a_short_log_without_events_proves_as_much_as_no_log() -> None:
    assert worth_of(shown(0, 0)).weights == worth_of([]).weights == WEIGHTS


def test_older_baselines_have_one_bar_for_all() -> None:
    assert bars_of([]) == bars_of([1.0])
    assert [bars.low for bars in bars_of([300.0, 20.0])] == pytest.approx([360.0] * KINDS)
    assert all(bars.stops for bars in bars_of([300.0]))
    assert not any(bars.stops for bars in bars_of([10_000.0]))


def test_one_noisy_kind_lifts_its_own_bar_alone() -> None:
    bars = bars_of(shown(20_000, 1, 300.0))
    assert bars[OFFSET].high == pytest.approx(360.0)
    assert {(bars[kind].low, bars[kind].high) for kind in STRONG - {OFFSET}} == {(LOW_BAR, HIGH_BAR)}


def test_what_is_worth_nothing_lifts_no_bar() -> None:
    usual = shown(20_000, 5000, 90_000.0)
    assert worth_of(usual).weights[OFFSET] == 0.0
    assert bars_of(usual)[OFFSET].high == HIGH_BAR
    usual[OFFSET, LARGEST] = 0.0
    assert bars_of(usual)[OFFSET].low == LOW_BAR


def test_kinds_that_an_older_baseline_does_not_know_count_nothing() -> None:
    older = shown(20_000, 1, 300.0)[:STEP]
    assert worth_of(older).weights[STEP] == 0.0
    assert worth_of(older).weights[OFFSET] == WEIGHTS[OFFSET]
    assert len(bars_of(older)) == KINDS
    assert bars_of(older)[OFFSET].high == pytest.approx(360.0)
