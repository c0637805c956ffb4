"""Which anchors are nearest, and where chance comes from; what is kept is tested with the memory."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.memory.reservoir import ANCHORS, GROUPS, NEIGHBOURS, choose_nearest, mix


@given(st.lists(st.sampled_from([0.0, 1.0, 2.5, 7.0]) | st.floats(0, 2.0**40, width=32), max_size=ANCHORS))
def test_the_nearest_are_those_of_a_stable_sort(distances: list[float]) -> None:
    """Ties go to the lower place, whatever the order and the number of the anchors."""
    n = len(distances)
    squares = np.zeros(ANCHORS, np.float32)
    squares[:n] = distances
    best = np.full(NEIGHBOURS, -1)
    found = choose_nearest(squares.view(np.int32), n, np.empty(ANCHORS, np.int64), np.empty(GROUPS, np.int64), best)
    assert found == min(n, NEIGHBOURS)
    assert best[:found].tolist() == np.argsort(squares[:n], kind="stable")[:NEIGHBOURS].tolist()


def test_mix_is_splitmix64() -> None:
    """The draw is the published generator, so that any implementation can follow it."""

    def splitmix64(x: int) -> int:
        mask = 2**64 - 1
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
        return x ^ (x >> 31)

    for seed, counter in ((0, 1), (5, 2), (2**63, 77)):
        wanted = splitmix64((seed + counter * 0x9E3779B97F4A7C15) % 2**64)
        assert int(mix(np.uint64(seed), np.uint64(counter))) == wanted
