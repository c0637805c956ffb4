from dataclasses import replace

import numpy as np
import pytest

from detector.errors import ConfigError
from detector.redteam.play import Player
from detector.redteam.sessions import Disguise, innocent, thief
from tests.quality.fleet import fleet, parted
from tests.quality.observed import written
from tests.quality.simulation import Simulation, simulated

DIGITS, LOANS = simulated("digits", "mlp", 1), simulated("loans", "forest", 1)


def _players(served: Simulation, profiles: tuple[str, ...], queries: int) -> list[Player]:
    return [innocent(profile, number, served.evaluation, queries, 6.0, 5) for number in range(3) for profile in profiles]


@pytest.mark.parametrize(
    ("served", "profiles"),
    [(DIGITS, ("video", "retries", "skewed")), (DIGITS, ("patch_recourse",)), (LOANS, ("tab_what_if", "tab_recourse"))],
    ids=["digits", "digits-listening", "loans"],
)
@pytest.mark.parametrize("labels_only", [False, True])
def test_a_fleet_asks_what_its_clients_would_ask_alone(
    served: Simulation, profiles: tuple[str, ...], labels_only: bool
) -> None:
    """The same events in the same order as in a log that was written and read, whether clients listen or not."""
    slow = written(_players(served, profiles, 70), served.evaluation, labels_only=labels_only)
    fast = fleet(_players(served, profiles, 70), served.evaluation, labels_only=labels_only)
    assert len(fast) == len(slow) == 70 * 3 * len(profiles)
    for name in ("client", "event_id", "time", "sequence", "vector", "label", "weight", "sender", "version"):
        columns = [np.concatenate([np.asarray(getattr(b, name), object) for b in log.batches]) for log in (fast, slow)]
        assert np.array_equal(columns[0], columns[1]), name
    for name in ("confidence", "runner_up"):
        shares = [np.concatenate([getattr(b, name) for b in log.batches]) for log in (fast, slow)]
        assert np.allclose(shares[0], shares[1], rtol=0.0, atol=2e-6, equal_nan=True)
    assert {b.model for b in fast.batches} == {b.model for b in slow.batches}
    assert np.array_equal(fast.player, slow.player)
    assert fast.places.keys() == slow.places.keys()
    assert all(np.array_equal(fast.places[client], slow.places[client]) for client in slow.places)


@pytest.mark.parametrize("wire", ["uint8", "decimals-1"])
def test_a_fleet_speaks_through_the_wire(wire: str) -> None:
    """The log holds what arrived and what the model said to that, as a log that was written and read does."""
    served = replace(DIGITS, evaluation=DIGITS.evaluation.over(wire, "decimals-2"))
    slow, fast = (log(_players(served, ("noisy_sensor",), 40), served.evaluation) for log in (written, fleet))
    vectors, told = (
        [np.concatenate([getattr(batch, name) for batch in log.batches]) for log in (fast, slow)]
        for name in ("vector", "confidence")
    )
    assert np.array_equal(vectors[0], vectors[1])
    assert np.allclose(told[0], told[1], rtol=0.0, atol=2e-6)
    assert np.allclose(told[0], np.round(told[0], 2), atol=1e-6)


def test_a_fleet_can_be_taken_apart() -> None:
    """Each player's log is what it would be alone: its own events, counted from the first."""
    players = [thief("jbda", number, DIGITS.thieves, Disguise(), 50, 6.0, 1) for number in range(3)]
    log = fleet(players, DIGITS.thieves)
    parts = parted(log, players)
    assert [len(part) for part in parts] == [50] * 3
    for player, part in zip(players, parts, strict=True):
        sequences = np.concatenate([batch.sequence for batch in part.batches])
        assert np.array_equal(sequences, np.arange(50))
        vectors = np.concatenate([batch.vector for batch in part.batches])
        assert np.allclose(vectors, np.stack(player.vectors), atol=1e-5)
        assert {client for batch in part.batches for client in batch.client} == set(part.places) == {player.name}
        assert part.synthetic.sum() == sum(player.synthetic)


def test_thieves_can_be_played_as_well() -> None:
    """What was made up is known of each event, and budgets differ from client to client."""
    players = [thief("jbda", 0, DIGITS.thieves, Disguise(), 60, 6.0, 1), *_players(DIGITS, ("steady",), 20)]
    log = fleet(players, DIGITS.thieves)
    assert len(log) == 60 + 3 * 20
    assert log.synthetic[log.player == 0].any()
    assert not log.synthetic[log.player != 0].any()


def test_nobody_asks_nothing() -> None:
    """An empty fleet leaves an empty log."""
    assert len(fleet([], DIGITS.evaluation)) == 0
    assert fleet([], DIGITS.evaluation).batches == ()


def test_what_cannot_be_played_is_refused() -> None:
    """A client with several accounts is not for a fleet; one who finds nothing to ask about says so."""
    shared = thief("jbda", 0, DIGITS.thieves, Disguise(accounts=3), 60, 6.0, 1)
    with pytest.raises(ValueError, match="one account"):
        fleet([shared], DIGITS.thieves)
    nothing = replace(DIGITS.evaluation, benign=replace(DIGITS.evaluation.benign, vectors=np.empty((0, 64))))
    with pytest.raises(ConfigError, match="steady: a client needs"):
        fleet([innocent("steady", 0, nothing, 10, 6.0, 1)], nothing)
