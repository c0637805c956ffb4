"""Thresholds keep budgets, and actions keep to their order."""

import math
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import poisson

from detector.contracts.decision import Action
from detector.engine.evidence.accumulate import CHANNELS, FLOORS
from detector.engine.policy import (
    ACTIONS,
    ALERT,
    ALLOW,
    BLOCK,
    LEAST_NOVELTY,
    OPENING,
    PERTURB,
    THROTTLE,
    PolicySettings,
    Thresholds,
    channel_action,
    construction_action,
    lasts_ms,
    novelty_action,
    permitted,
    threshold,
    thresholds_for,
    tolerated,
    with_company,
)

scores = st.lists(st.floats(0, 1000), min_size=1, max_size=300)
rates = st.floats(1e-8, 1.0)
TAIL = 0.15  # for every power of ten


def test_the_two_ladders_are_one() -> None:
    """The engine's numbers and the contract's words name the same actions in the same order."""
    assert get_args(Action) == ACTIONS
    assert (ALLOW, ALERT, THROTTLE, PERTURB, BLOCK) == (0, 1, 2, 3, 4)


@given(scores, rates, rates)
def test_a_stricter_budget_never_lowers_a_bar(calibration: list[float], one: float, other: float) -> None:
    """The threshold falls, or stays, as the allowed rate grows."""
    assert threshold(calibration, min(one, other), TAIL) >= threshold(calibration, max(one, other), TAIL)


@given(scores, rates)
def test_no_more_calibration_clients_pass_than_the_budget_allows(calibration: list[float], rate: float) -> None:
    """A share `rate` of the clients, or one of them, lies above the threshold at most, and it is no higher than that needs."""
    found = threshold(calibration, rate, TAIL)
    above = sum(score > found for score in calibration)
    assert above <= max(rate * (len(calibration) + 1), 1.0)
    if rate * (len(calibration) + 1) >= 2:
        assert found in calibration


@given(scores, rates, st.floats(0, 1e9))
def test_one_more_client_raises_a_threshold_at_most_to_the_highest_before(
    calibration: list[float], rate: float, odd: float
) -> None:
    """Whatever its score: nobody can switch detection off by joining the log of a fit."""
    without, raised = threshold(calibration, rate, TAIL), threshold([*calibration, odd], rate, TAIL)
    beyond = TAIL * max(math.log10(2.0 / (rate * (len(calibration) + 1))), 0.0)
    assert raised <= max(without, max(calibration) + beyond + 1e-9)


def test_one_client_above_a_floor_does_not_take_the_right_to_stop() -> None:
    """One in a hundred may be a thief; two show that the channel fires on innocents, and so does one that was reviewed."""
    offset = 0
    evidence = np.zeros((100, len(CHANNELS)))
    evidence[-1, offset] = 500.0
    odd = thresholds_for(PolicySettings(), np.zeros(100), evidence)
    assert (odd.limit[offset], odd.stop[offset]) == (BLOCK, FLOORS[offset])
    assert thresholds_for(PolicySettings(), np.zeros(100), evidence, reviewed=1).limit[offset] == ALERT
    evidence[0, offset] = 500.0
    assert thresholds_for(PolicySettings(), np.zeros(100), evidence).limit[offset] == ALERT


@given(st.integers(8, 20_000), st.floats(1e-6, 0.9))
@example(20_000, 0.05)  # the chance of none is below the smallest float
def test_what_is_tolerated_follows_from_budget_and_count(clients: int, rate: float) -> None:
    """Innocent clients alone pass in such numbers in 1 of 100 baselines at most; one is always tolerated."""
    found = tolerated(clients, rate)
    assert found >= 1
    assert poisson.sf(found, clients * rate) <= 0.01 + 1e-9
    assert found == 1 or poisson.sf(found - 1, clients * rate) > 0.01 - 1e-9


@given(st.lists(st.floats(0, 100), min_size=8, max_size=60), st.floats(0, 1e6), st.integers(0, len(CHANNELS) - 1))
def test_an_arbitrary_client_lowers_protection_by_a_bounded_amount(calibration: list[float], odd: float, channel: int) -> None:
    """However high it scores, thresholds are at most as with one more like the highest, and no channel loses its right."""
    before = np.zeros((len(calibration), len(CHANNELS)))
    before[:, channel] = calibration
    extreme, highest = np.zeros((2, 1, len(CHANNELS)))
    extreme[0, channel], highest[0, channel] = odd, max(calibration)
    after = thresholds_for(PolicySettings(), [*calibration, odd], np.concatenate([before, extreme]))
    most = thresholds_for(PolicySettings(), [*calibration, max(calibration)], np.concatenate([before, highest]))
    assert after.alert <= most.alert
    assert all(now <= then for now, then in zip(after.stop, most.stop, strict=True))
    if not (before > FLOORS).any():
        assert after.limit == thresholds_for(PolicySettings(), calibration, before).limit


@given(scores, rates, st.floats(0, 1000))
def test_a_worse_calibration_client_never_lowers_a_bar(calibration: list[float], rate: float, worse: float) -> None:
    """Raising one score raises the threshold or leaves it."""
    raised = [max(calibration[0], worse), *calibration[1:]]
    assert threshold(raised, rate, TAIL) >= threshold(calibration, rate, TAIL)


def test_the_share_of_new_clients_above_a_bar_is_the_budget() -> None:
    """Split conformal prediction: over many draws, exchangeable newcomers pass as often as allowed, not more."""
    rng = np.random.default_rng(1)
    passed = [rng.normal() > threshold(rng.normal(size=99), 0.1, TAIL) for _ in range(4000)]
    assert 0.08 < np.mean(passed) <= 0.115


def test_a_budget_finer_than_the_calibration_raises_the_bar_beyond_it() -> None:
    """A step above the second highest score for every power of ten that is missing; nothing without calibration."""
    calibration = [9.0] + [1.0] * 8
    assert threshold(calibration, 0.2, TAIL) == 1.0
    assert threshold(calibration, 0.02, TAIL) == pytest.approx(1.15)
    assert threshold(calibration, 0.002, TAIL) == pytest.approx(1.30)
    assert threshold([], 0.1, TAIL) == 0.0


def test_floors_hold_whatever_the_calibration_says() -> None:
    """Quiet calibration clients do not lower construction below its floors, nor novelty below its least threshold."""
    none = np.zeros((5000, len(CHANNELS)))
    thresholds = thresholds_for(PolicySettings(), np.zeros(5000), none)
    assert thresholds.stop == tuple(FLOORS)
    assert thresholds.alert == LEAST_NOVELTY
    assert thresholds.throttle == pytest.approx(1.25 * LEAST_NOVELTY)
    loud = thresholds_for(PolicySettings(), np.full(50, 9.0), np.full((50, len(CHANNELS)), 100.0))
    assert min(loud.stop) > 120.0
    assert loud.alert >= 9.0


def test_without_a_baseline_novelty_only_alerts() -> None:
    """Construction stops at its floors; nothing is ever throttled for novelty."""
    thresholds = thresholds_for(PolicySettings(), None, None)
    assert thresholds.stop == tuple(FLOORS)
    assert math.isinf(thresholds.throttle)
    assert {novelty_action(score, in_a_row, thresholds) for score in (0.0, 1.2, 1e9) for in_a_row in (0, 1, 2, 255)} == {
        ALLOW,
        ALERT,
    }


@given(st.floats(0, 10.0), st.integers(0, 255), st.floats(1.2, 5.0))
def test_novelty_never_stops(score: float, in_a_row: int, alert: float) -> None:
    """Whatever the score and however long it lasts, novelty throttles at most."""
    thresholds = Thresholds(alert=alert, throttle=1.25 * alert, stop=())
    assert novelty_action(score, in_a_row if score >= alert else 0, thresholds) <= THROTTLE


@given(st.floats(0, 100), st.floats(0, 100), st.floats(1, 50))
def test_more_evidence_never_calls_for_less(one: float, other: float, stop: float) -> None:
    """The ladder of construction is climbed in order: alert, perturb, block, never a throttle."""
    low, high = sorted((one, other))
    assert construction_action(low, stop) <= construction_action(high, stop)
    assert construction_action(one, stop) in {ALLOW, ALERT, PERTURB, BLOCK}


@pytest.mark.parametrize("action", range(5))
def test_limits_of_policy(action: int) -> None:
    """An identity nobody vouches for is never blocked, a protected client throttled at most; others get what is called for."""
    assert permitted(action, trusted=True, protected=False) == action
    assert permitted(action, trusted=False, protected=False) == min(action, THROTTLE)
    assert permitted(action, trusted=True, protected=True) == min(action, THROTTLE)
    assert permitted(action, trusted=False, protected=True) == min(action, THROTTLE)


def test_durations_are_the_operator_s() -> None:
    """Each action lasts as long as the terms say."""
    policy = PolicySettings(throttle_ms=1, perturb_ms=2, block_ms=3)
    assert [lasts_ms(action, policy) for action in (THROTTLE, PERTURB, BLOCK)] == [1, 2, 3]


def evidence(**scores: float) -> npt.NDArray[np.float32]:
    """Return the evidence of a client, 0 in the channels that are not named."""
    return np.array([scores.get(name, 0.0) for name in CHANNELS], np.float32)


BISECT_FLOOR, TURNS_FLOOR = (float(FLOORS[CHANNELS.index(name)]) for name in ("bisect", "turns"))


@pytest.mark.parametrize(
    ("bisect", "turns", "action"),
    [
        (0.61, 1.0, PERTURB),
        (0.59, 1.0, ALLOW),
        (0.61, 0.99, ALLOW),
        (0.8, 0.99, ALERT),
        (0.0, 9.0, ALLOW),
        (1.6, 1.0, BLOCK),
    ],
)
def test_construction_stops_earlier_in_company(bisect: float, turns: float, action: int) -> None:
    """Given as shares of the two floors; `turns` alone never stops, and never more than it throttles."""
    thresholds = thresholds_for(PolicySettings(), None, None)
    peak = evidence(bisect=bisect * BISECT_FLOOR, turns=turns * TURNS_FLOOR)
    assert channel_action(CHANNELS.index("bisect"), peak, thresholds) == action
    assert channel_action(CHANNELS.index("turns"), peak, thresholds) <= THROTTLE


def test_novelty_has_no_company() -> None:
    """However much there is of it beside it."""
    thresholds = thresholds_for(PolicySettings(), None, None)
    peak = evidence(foreign=23.0, turns=1000.0)
    assert channel_action(CHANNELS.index("foreign"), peak, thresholds) == ALERT


def test_a_channel_that_may_only_alert_does_not_stop_in_company() -> None:
    """Two benign clients passed its floor in calibration; one alone would be set aside."""
    scores = np.zeros((40, len(CHANNELS)))
    scores[:2, CHANNELS.index("bisect")] = BISECT_FLOOR + 1
    thresholds = thresholds_for(PolicySettings(), None, scores)
    peak = evidence(bisect=1000.0, turns=1000.0)
    assert channel_action(CHANNELS.index("bisect"), peak, thresholds) == ALERT


def test_new_evidence_calls_up_what_it_accompanies() -> None:
    """Evidence of a search is judged again when the company arrives."""
    bisect, turns, foreign = map(CHANNELS.index, ("bisect", "turns", "foreign"))
    assert {bisect, turns} <= set(with_company([turns]))
    assert with_company([bisect]) == [bisect]
    assert foreign not in with_company([turns])


def test_foreign_data_need_less_evidence_in_a_client_s_first_queries() -> None:
    """Innocent clients of an unknown kind gather it slowly. What calibration demands holds from the first query on."""
    foreign, bisect = CHANNELS.index("foreign"), CHANNELS.index("bisect")
    peak = evidence(foreign=17.0, bisect=0.7 * BISECT_FLOOR)
    thresholds = thresholds_for(PolicySettings(), None, np.zeros((40, len(CHANNELS))))
    assert channel_action(foreign, peak, thresholds.after(OPENING)) == THROTTLE
    assert channel_action(foreign, peak, thresholds.after(OPENING + 1)) == ALLOW
    assert channel_action(bisect, peak, thresholds.after(1)) == ALLOW
    calibrated = thresholds_for(PolicySettings(), None, np.full((40, len(CHANNELS)), 17.0))
    assert channel_action(foreign, peak, calibrated.after(1)) < THROTTLE
    assert calibrated.after(1).stop[foreign] == calibrated.stop[foreign]
