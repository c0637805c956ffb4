"""Worlds: every kind of data that shapes what evidence can see, with the wire of its clients; half of them held out."""

import numpy as np
import pytest

from tests.quality.scenarios import WORLD_CELLS
from tests.quality.simulation import simulated
from tests.quality.worlds import HELD_OUT, VICTIMS, WORLDS


def test_every_world_is_served_and_half_are_held_out() -> None:
    """A world without a model or a cell is not measured."""
    assert set(WORLDS) == set(VICTIMS)
    assert len(WORLDS) >= 10
    assert set(WORLDS) >= HELD_OUT
    assert abs(2 * len(HELD_OUT) - len(WORLDS)) <= 1
    assert {cell.data for cell in WORLD_CELLS} == set(WORLDS)
    assert all(any(cell.data == name and cell.victim == VICTIMS[name] for cell in WORLD_CELLS) for name in WORLDS)


@pytest.mark.parametrize("name", sorted(WORLDS))
def test_a_world_is_the_same_every_time_and_worth_stealing(name: str) -> None:
    """Examples are finite, as many as the pools need, on their wire; the model is better than its commonest class."""
    made, again = WORLDS[name](3), WORLDS[name](3)
    assert np.array_equal(made.X, again.X)
    assert np.array_equal(made.y, again.y)
    assert np.isfinite(made.X).all()
    assert len(made.X) >= 1000
    target = simulated(name, VICTIMS[name], 3).evaluation
    sent = target.wire.send(target.benign.vectors[:50])
    assert np.allclose(target.wire.send(sent), sent, atol=1e-6)
    told = target.predict(target.wire.send(target.benign.vectors)).argmax(axis=1)
    commonest = np.bincount(made.y).max() / len(made.y)
    assert (told == target.benign.labels).mean() >= min(commonest, 0.9)
