from detector.redteam.design_aware import EVASIONS
from detector.redteam.registry import ATTACKS, PROFILES
from tests.quality.goals import GROUPS
from tests.quality.scenario import Innocence, Theft
from tests.quality.scenarios import SCENARIOS
from tests.quality.simulation import kind_of
from tests.quality.world_cells import HELD_OUT_ATTACKS, WORLD_CELLS
from tests.quality.worlds import HELD_OUT, VICTIMS


def test_ids_are_used_once() -> None:
    """No cell hides another, here or in the scenario table."""
    ids = [cell.id for cell in WORLD_CELLS]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & SCENARIOS.keys()


def test_cells_go_with_their_data_and_groups() -> None:
    """No attack, evasion or profile plays on data that it was not made for, and every theft stands in a row."""
    for cell in WORLD_CELLS:
        kind = kind_of(cell.data)
        if isinstance(cell, Theft):
            assert kind in ATTACKS[cell.attack].data, cell.id
            assert cell.group in GROUPS
            assert not cell.evasion or kind in EVASIONS[cell.evasion].data
        else:
            assert PROFILES[cell.profile].data == kind, cell.id


def test_every_world_has_every_group_that_fits() -> None:
    """Construction, steps around seeds, foreign data, cover and thieves who know the design are everywhere."""
    for world in VICTIMS:
        groups = {cell.group for cell in WORLD_CELLS if isinstance(cell, Theft) and cell.data == world}
        assert groups == set(GROUPS)


def test_what_is_held_out_plays_in_held_out_worlds_only() -> None:
    """Attacks of their own and every profile of the held-out wave, and these nowhere else."""
    own = {attack for attacks in HELD_OUT_ATTACKS.values() for attack in attacks}
    plain = {cell.data for cell in WORLD_CELLS if isinstance(cell, Theft) and cell.attack in own and not cell.evasion}
    profiles = {cell.profile: cell.data for cell in WORLD_CELLS if isinstance(cell, Innocence) and cell.part == "held-out"}
    assert plain
    assert plain <= HELD_OUT
    assert set(profiles) == {name for name, one in PROFILES.items() if one.wave == "held-out"}
    assert set(profiles.values()) <= HELD_OUT


def test_every_evasion_is_measured() -> None:
    """Each thief who knows the design is in some cell, and his plain attack in the same world."""
    cells = [cell for cell in WORLD_CELLS if isinstance(cell, Theft)]
    plain = {(cell.data, cell.attack) for cell in cells if not cell.evasion and not cell.disguise.cover}
    assert {cell.evasion for cell in cells if cell.evasion} == set(EVASIONS)
    assert all((cell.data, EVASIONS[cell.evasion].plain) in plain for cell in cells if cell.evasion)
