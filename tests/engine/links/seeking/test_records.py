"""Searches in columns without a coordinate of their own: told from sliders by ways that are half as long each time."""

import numpy as np
import pytest

from detector.engine.links.seeking.records import hidden_halving
from detector.engine.links.seeking.store import Entries, empty
from detector.engine.memory.reservoir import COORDINATES

NUMBERS = 16
LEVEL = np.ones(COORDINATES)
DIRECTION = np.random.default_rng(3).standard_normal(COORDINATES - NUMBERS)


def record(value: float) -> np.ndarray:
    """Return a record that has this value in a column that all other coordinates share."""
    found: np.ndarray = np.rint(np.concatenate([np.arange(NUMBERS) * 100, value * DIRECTION])).astype(np.int16)
    return found


def halvings(values: list[float]) -> list[int]:
    """Ask records with these values one after the other; return how often in a row each halves a way."""
    entries: Entries = empty(1, 32)
    found = []
    for at, value in enumerate(values):
        z = record(value)
        rows = np.ascontiguousarray(entries.z[0, :, :at].T, np.float32)
        depth, way, _, _ = hidden_halving(entries, z, np.arange(at), rows, NUMBERS, LEVEL)
        entries.z[0, :, at], entries.uid[at], entries.depth[at], entries.size[at] = z, at + 1, depth, way
        found.append(depth)
    return found


@pytest.mark.parametrize("turns", [(0, 1, 0), (1, 1, 1), (0, 0, 1)])
def test_a_search_halves_shorter_and_shorter_ways(turns: tuple[int, ...]) -> None:
    low, high = 0.0, 800.0
    values = [low, high]
    for turn in (*turns, 0):
        middle = (low + high) / 2
        values.append(middle)
        low, high = (middle, high) if turn else (low, middle)
    assert halvings(values) == [0, 0, 1, 2, 3, 4]


def test_a_slider_through_a_grid_does_not() -> None:
    values = np.random.default_rng(5).permutation(np.arange(20) * 40.0)
    assert max(halvings(values.tolist())) < 3


def test_another_record_is_no_end() -> None:
    entries = empty(1, 32)
    for at, value in enumerate((0.0, 800.0)):
        entries.z[0, :, at], entries.uid[at] = record(value), at + 1
    other = record(400.0)
    other[3] += 50
    rows = np.ascontiguousarray(entries.z[0, :, :2].T, np.float32)
    assert hidden_halving(entries, other, np.arange(2), rows, NUMBERS, LEVEL)[0] == 0
