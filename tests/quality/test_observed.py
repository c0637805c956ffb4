import numpy as np
import pytest

from detector.redteam.sessions import Disguise, innocent, thief
from tests.quality.observed import Found, Log, flagged, ours, settings_for, written
from tests.quality.simulation import simulated

SIMULATION = simulated("digits", "mlp", 1)


@pytest.fixture(scope="module")
def log() -> Log:
    """Return a thief with two accounts who hides half of his queries, and one innocent."""
    one = thief("jbda", 0, SIMULATION.thieves, Disguise(cover=0.5, accounts=2), 120, 6.0, 1)
    return written([one, innocent("steady", 0, SIMULATION.evaluation, 60, 6.0, 1)], SIMULATION.thieves)


def test_both_sides_see_the_same_queries(log: Log) -> None:
    """Batches for the engine and sessions for the others hold the same numbers in the same order."""
    clients = [client for batch in log.batches for client in batch.client]
    vectors = np.concatenate([batch.vector for batch in log.batches])
    assert len(clients) == len(log) == 180
    for name, session in log.sessions.items():
        mine = np.flatnonzero([client == name for client in clients])
        assert np.array_equal(mine, log.places[name])
        assert np.array_equal(session.vectors.astype(np.float32), vectors[mine])
        assert session.client == name


def test_the_truth_stays_with_the_events(log: Log) -> None:
    """Both accounts belong to player 0, whose cover is no synthetic query; the innocent makes nothing."""
    assert sorted(log.places) == ["steady-1", "thief-jbda-1-001", "thief-jbda-1-002"]
    assert (log.player == 0).sum() == 120
    assert not (log.synthetic & log.cover).any()
    assert not (log.synthetic | log.cover)[log.player == 1].any()
    assert 30 < log.cover.sum() < 90


def test_engine_positions_are_those_of_the_log(log: Log) -> None:
    """A level is reached at an event of that client, and never before a lower one."""
    found = ours(log, settings_for(SIMULATION), {})
    assert found["stop"]
    for client, stop in found["stop"].items():
        assert stop.place in log.places[client]
        assert found["alert"][client].place <= found["throttle"][client].place <= stop.place


def test_counts_become_positions(log: Log) -> None:
    """The third query of a client is where its third event is; who is never flagged is not there."""
    name = "thief-jbda-1-002"
    assert flagged(log, {name: 3, "steady-1": None}) == {name: Found(int(log.places[name][2]), "")}


def test_a_model_that_tells_labels_logs_no_probabilities() -> None:
    """The engine then has no confidence to go by, while the others get a one at the label."""
    silent = simulated("digits", "mlp-labels", 1)
    log = written([innocent("steady", 0, silent.evaluation, 20, 6.0, 1)], silent.evaluation, labels_only=True)
    assert all(np.isnan(batch.confidence).all() for batch in log.batches)
    assert np.array_equal(log.sessions["steady-1"].answers.sum(axis=1), np.ones(20))


def test_records_come_to_one_scale() -> None:
    """Published detectors see features between 0 and 1 where the engine sees the record itself."""
    bank = simulated("loans", "forest", 1)
    log = written([innocent("tab_steady", 0, bank.evaluation, 20, 6.0, 1)], bank.evaluation)
    features = log.sessions["tab_steady-1"].vectors
    assert features.min() >= 0.0
    assert features.max() <= 1.0
    assert log.batches[0].vector.max() > 1.0
    assert settings_for(bank).categorical == {"loans-forest": (6, 7, 8, 9)}
