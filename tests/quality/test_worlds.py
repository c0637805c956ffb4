"""Worlds: every kind of data that shapes what evidence can see, with the wire of its clients; half of them held out."""

import numpy as np
import pytest

from tests.quality.simulation import simulated
from tests.quality.workers import ROOT
from tests.quality.world_cells import WORLD_CELLS
from tests.quality.worlds import EMBEDDINGS, HELD_OUT, PICTURES, VICTIMS, WORLDS


def test_every_world_is_served_and_half_are_held_out() -> None:
    """A world without a model or a cell is not measured."""
    assert set(WORLDS) == set(VICTIMS)
    assert len(WORLDS) >= 22
    assert set(WORLDS) >= HELD_OUT
    assert abs(2 * len(HELD_OUT) - len(WORLDS)) <= 1
    assert set(WORLDS) >= PICTURES | EMBEDDINGS
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
    if made.wire != "jpeg":  # which loses something each time
        assert np.allclose(target.wire.send(sent), sent, atol=1e-6)
    told = target.predict(target.wire.send(target.benign.vectors)).argmax(axis=1)
    commonest = np.bincount(made.y).max() / len(made.y)
    assert (told == target.benign.labels).mean() >= min(commonest, 0.9)


def test_each_half_has_every_kind() -> None:
    """Pictures, embeddings, whole numbers and a model that tells labels only, on both sides."""
    for half in (HELD_OUT, set(WORLDS) - HELD_OUT):
        assert half & PICTURES
        assert half & EMBEDDINGS
        assert any(VICTIMS[name].endswith("-labels") for name in half)
    assert {"mlp_sure", "mlp_unsure"} <= set(VICTIMS.values())


@pytest.mark.parametrize(("name", "least", "most"), [("machines", 0.99, 1.0), ("visits", 0.3, 0.5)])
def test_models_are_as_sure_as_they_should_be(name: str, least: float, most: float) -> None:
    """One is nearly always sure, one nearly never; so half of the answers lie there."""
    target = simulated(name, VICTIMS[name], 3).evaluation
    assert least <= np.median(target.predict(target.benign.vectors).max(axis=1)) <= most


def test_the_documents_name_every_world_its_half_and_its_wire() -> None:
    """What a reader of the table looks up is there, and nothing else."""
    page = (ROOT / "docs/pages/measuring.md").read_text(encoding="utf-8")
    lines = [[part.strip() for part in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")]
    listed = {line[0].strip("`"): line for line in lines if len(line) == 6}
    assert list(listed) == list(WORLDS)
    for name in ("shuttle", "visits", "features", "yeast"):
        assert listed[name][5].split(" / ")[0] == WORLDS[name](3).wire
    assert {name for name, line in listed.items() if line[1] == "held out"} == HELD_OUT
