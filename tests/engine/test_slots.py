"""Slots: rows are given out, taken back and given out again, and a snapshot learns what it has to say."""

import numpy as np

from detector.engine.slots import Slots


def test_a_row_that_was_left_is_given_to_the_next_client() -> None:
    """Names, flags and what is drawn belong to the client, not to the row."""
    slots = Slots("m", 7, 4)
    assert slots.admit(["a", "b"]).tolist() == [0, 1]
    drawn = slots.seed[:2].tolist()
    slots.dirty[0] = True
    slots.vacate([0])
    assert "a" not in slots
    assert slots.rows_for(1) == 2  # the row of a is free
    assert slots.admit(["c"]).tolist() == [0]
    assert slots.name(0) == "c"
    assert not slots.dirty[0]
    assert slots.seed[0] not in drawn
    assert slots.places(["b", "c"]).tolist() == [1, 0]


def test_missing_clients_come_in_the_order_they_ask() -> None:
    """Each once, with the place where it comes first."""
    slots = Slots("m", 7, 4)
    slots.admit(["a"])
    assert slots.missing(["a", "c", "b", "c"]) == {"c": 1, "b": 2}


def test_who_left_since_the_last_snapshot_is_forgotten_once() -> None:
    """A client that the snapshot never had need not be left out of the next, and one that is back is not forgotten."""
    slots = Slots("m", 7, 4)
    slots.admit(["saved", "back"])
    slots.note_snapshot()
    slots.admit(["new"])
    slots.forget(np.array([0, 1, 2]))
    slots.vacate([0, 1, 2])
    assert slots.forgotten == {"saved", "back"}
    place = int(slots.admit(["back"])[0])
    assert slots.forgotten == {"saved"}
    assert slots.saved[place]


def test_growing_keeps_what_is_known() -> None:
    """More rows, and the first are as they were."""
    slots = Slots("m", 7, 1)
    slots.admit(["a"])
    seed = slots.seed[0]
    slots.grow(5)
    assert slots.seed[0] == seed
    assert slots.kept.tolist() == [True, False, False, False, False]
