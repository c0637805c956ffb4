import numpy as np

from tests.quality import worlds
from tests.quality.campaigns.worlds import HELD_OUT, LEFT_OUT, WORLDS, day_of, past_day, profiles_for


def test_ten_worlds_are_held_out() -> None:
    """With data of the other tables' held-out half, and open worlds have none of these; each is on its usual wire."""
    assert len(HELD_OUT) == 10
    assert {world.data for world in WORLDS.values() if world.held_out} <= worlds.HELD_OUT
    assert not {world.data for world in WORLDS.values() if not world.held_out} & worlds.HELD_OUT
    assert all(world.id == name for name, world in WORLDS.items())


def test_a_day_and_the_days_before_share_no_input() -> None:
    """Profiles that calibration may not know play on the day only; organisations are named where the world says so."""
    world = WORLDS["fraud-all"]
    day, calibrating, teaching = day_of(world, 60), past_day(world, 60), past_day(world, 60, "teaching")
    assert {part.accounts[0].organization for part in (day, calibrating, teaching)} == {None}
    asked = [{row.tobytes() for row in np.unique(part.vectors, axis=0)} for part in (day, calibrating, teaching)]
    assert len(asked[1] & asked[2]) < 0.05 * len(asked[1])
    names = profiles_for(WORLDS["digits-known"])
    assert "mirrored" not in names
    assert "mirrored" in profiles_for(WORLDS["digits-all"])
    assert not LEFT_OUT & set(names)
