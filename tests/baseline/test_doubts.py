"""Doubtful calibration clients are named, with what to do."""

import numpy as np
import pytest

from detector.baseline.doubts import LISTED, doubts, set_aside, tell
from detector.engine.account import account_key
from detector.engine.evidence.accumulate import CHANNELS, FLOORS
from detector.engine.evidence.registry import OFFSET
from detector.engine.fitting.novelty import fit_norms
from detector.engine.models.novelty import Calibrated
from detector.engine.policy import PolicySettings
from detector.ingest.batch import Sender
from tests.engine.evaluations import evaluations

NAMES = [f"client-{number}" for number in range(40)]


@pytest.fixture(scope="module")
def calibrated() -> Calibrated:
    """Learn forty clients in two crowds."""
    return fit_norms(evaluations(40, crowds=2))


def test_nobody_is_doubtful_where_all_are_alike(calibrated: Calibrated) -> None:
    """Neither evidence nor novelty passes a threshold."""
    assert doubts(NAMES, calibrated, np.zeros((40, len(CHANNELS))), PolicySettings()) == []


def test_one_client_above_a_floor_is_set_aside_and_named(calibrated: Calibrated) -> None:
    """With its profile, its evidence and both things to do; a second one takes the channel's right to stop."""
    evidence = np.zeros((40, len(CHANNELS)))
    evidence[7, OFFSET] = 99.0
    (entry,) = doubts(NAMES, calibrated, evidence, PolicySettings())
    assert (entry["client"], entry["evidence"], entry["score"], entry["only_alerts"]) == ("client-7", "offset", 99.0, False)
    assert entry["threshold"] == FLOORS[OFFSET]
    assert entry["profile_clients"] == 20
    (sentence,) = tell({"set_aside": [entry]})
    assert "--exclude client-7" in sentence
    assert "baseline accept client-7 --despite-construction" in sentence
    evidence[9, OFFSET] = 50.0
    both = doubts(NAMES, calibrated, evidence, PolicySettings())
    assert [entry["client"] for entry in both] == ["client-7", "client-9"]
    assert all(entry["only_alerts"] for entry in both)
    assert all("may only alert" in sentence for sentence in tell({"set_aside": both}))


def test_all_who_are_set_aside_are_known(calibrated: Calibrated) -> None:
    """Also those that the list for people has no room for."""
    evidence = np.zeros((40, len(CHANNELS)))
    evidence[: LISTED + 5, OFFSET] = 99.0
    assert len(doubts(NAMES, calibrated, evidence, PolicySettings())) == LISTED
    assert set_aside(NAMES, calibrated, evidence, PolicySettings()) == set(NAMES[: LISTED + 5])
    assert set_aside(NAMES, calibrated, np.zeros((40, len(CHANNELS))), PolicySettings()) == set()


def test_a_name_is_one_argument_of_the_commands(calibrated: Calibrated) -> None:
    """Whoever chooses a client's name does not choose what a person who pastes the command runs."""
    evidence = np.zeros((40, len(CHANNELS)))
    evidence[7, OFFSET] = 99.0
    names = [*NAMES[:7], "a; rm -r b", *NAMES[8:]]
    (sentence,) = tell({"set_aside": doubts(names, calibrated, evidence, PolicySettings())})
    assert "--exclude 'a; rm -r b'" in sentence
    assert "accept 'a; rm -r b' --despite" in sentence


def test_a_client_that_nobody_vouches_for_is_named_as_in_the_log(calibrated: Calibrated) -> None:
    """The key of its account has the address as well, and is no name that --exclude knows."""
    evidence = np.zeros((40, len(CHANNELS)))
    evidence[7, OFFSET] = 99.0
    names = [*NAMES[:7], account_key("acme", Sender(ip="192.0.2.7"), vouched=False), *NAMES[8:]]
    (entry,) = doubts(names, calibrated, evidence, PolicySettings())
    assert entry["client"] == "acme"


def test_notes_of_older_baselines_tell_nothing() -> None:
    """They have no such entry."""
    assert list(tell({})) == []
