from detector.redteam.registry import ATTACKS, PROFILES
from tests.quality.history import playable
from tests.quality.scenario import Innocence, Theft
from tests.quality.scenarios import CELLS, SCENARIOS
from tests.quality.simulation import REAL, kind_of, simulated


def test_ids_are_used_once() -> None:
    """No cell hides another."""
    assert len(SCENARIOS) == len(CELLS)


def test_published_ids_stay() -> None:
    """Ids that stand in published tables still name the same cells."""
    theft = SCENARIOS["digits-mlp.jbda.cover-75"]
    assert isinstance(theft, Theft)
    assert (theft.attack, theft.disguise.cover, theft.disguise.accounts) == ("jbda", 0.75, 1)
    shared = SCENARIOS["loans-forest.line_search.accounts-20"]
    assert isinstance(shared, Theft)
    assert (shared.data, shared.victim, shared.disguise.accounts) == ("loans", "forest", 20)
    innocence = SCENARIOS["digits-mlp.left-out.video"]
    assert isinstance(innocence, Innocence)
    assert (innocence.profile, innocence.without) == ("video", "video")


def test_every_share_of_cover_is_there() -> None:
    """The mechanisms are tried without cover and under four shares of it."""
    covers = {cell.disguise.cover for cell in CELLS if isinstance(cell, Theft) and cell.attack == "line_search"}
    assert covers == {0.0, 0.5, 0.75, 0.9, 0.95}


def test_attacks_and_profiles_go_with_their_data() -> None:
    """No cell plays an attack or a profile on data that it was not made for."""
    for cell in CELLS:
        kind = kind_of(cell.data)
        if isinstance(cell, Theft):
            assert kind in ATTACKS[cell.attack].data, cell.id
        else:
            assert PROFILES[cell.profile].data == kind, cell.id


def test_known_profiles_are_those_of_the_past() -> None:
    """What a cell calls known has been in the benign past of its simulation, and nothing else has."""
    for data, victim in {(cell.data, cell.victim) for cell in CELLS if isinstance(cell, Innocence) and cell.data not in REAL}:
        known = {
            c.profile for c in CELLS if isinstance(c, Innocence) and (c.data, c.victim) == (data, victim) and c.part == "known"
        }
        assert known == set(playable(simulated(data, victim, 1)))
