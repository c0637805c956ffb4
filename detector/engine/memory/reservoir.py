"""Anchors: which earlier queries of a client are kept and what of them, and which are nearest.

The latest fresh queries lie in a ring; of those that the ring displaced, a uniform sample is kept (reservoir sampling, Vitter,
1985), where anchors that were used to construct a later query go before others: a thief under cover traffic returns to them.
Chance comes from a seed and a counter, so that the same stream always keeps the same queries.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.probe import SIZES
from detector.engine.features.coverage import LABELS
from detector.engine.features.distances import WINDOW
from detector.engine.kernels import kernel

COORDINATES = 24
SAMPLED = 48
ANCHORS = 64
RING = 24
NEIGHBOURS = 8
GROUPS = 8  # of anchors, while the nearest are chosen
TAKEN = 1 << 62
ACCEPTED, USED = 1, 2  # bits of `mark`

LAYOUT = {
    "z": ("i2", (COORDINATES, ANCHORS)),
    "c": ("u1", (ANCHORS, SAMPLED)),
    "label": ("i4", (ANCHORS,)),
    "order": ("u4", (ANCHORS,)),
    "depth": ("u1", (ANCHORS,)),
    "mark": ("u1", (ANCHORS,)),
    "margin": ("i2", (ANCHORS,)),
    "crowd": ("u1", (ANCHORS,)),
    "shown": ("u1", (ANCHORS,)),
    "held": ("u2", ()),
    "stored": ("u4", ()),
    "newest": ("u2", ()),
    "values": ("u1", (SIZES,)),
    "sizes": ("u1", (SIZES,)),
    "sized": ("u4", ()),
    "window": ("f4", (WINDOW,)),
    "window_count": ("u4", ()),
    "near": ("u4", ()),
    "repeats": ("u4", ()),
    "step_mean": ("f4", ()),
    "structure": ("f4", ()),
    "structure_count": ("u4", ()),
    "class_count": ("u4", (LABELS,)),
    "class_sum": ("f8", (LABELS,)),
    "class_square": ("f8", (LABELS,)),
    "class_bar": ("f4", (LABELS,)),
}


class Memory(NamedTuple):
    """Per client: the anchors, and the distances found so far.

    `class_count`, `class_sum`, `class_square` and `class_bar` are PRADA's statistics of the growing set of a label: how many
    distances its members were accepted with, their sum and sum of squares, and the bar that a distance must pass to be
    accepted (its published name is T, and it never falls).
    """

    z: npt.NDArray[np.int16]
    c: npt.NDArray[np.uint8]
    label: npt.NDArray[np.int32]
    order: npt.NDArray[np.uint32]
    depth: npt.NDArray[np.uint8]
    mark: npt.NDArray[np.uint8]
    margin: npt.NDArray[np.int16]
    crowd: npt.NDArray[np.uint8]
    shown: npt.NDArray[np.uint8]
    held: npt.NDArray[np.uint16]
    stored: npt.NDArray[np.uint32]
    newest: npt.NDArray[np.uint16]
    values: npt.NDArray[np.uint8]
    sizes: npt.NDArray[np.uint8]
    sized: npt.NDArray[np.uint32]
    window: npt.NDArray[np.float32]
    window_count: npt.NDArray[np.uint32]
    near: npt.NDArray[np.uint32]
    repeats: npt.NDArray[np.uint32]
    step_mean: npt.NDArray[np.float32]
    structure: npt.NDArray[np.float32]
    structure_count: npt.NDArray[np.uint32]
    class_count: npt.NDArray[np.uint32]
    class_sum: npt.NDArray[np.float64]
    class_square: npt.NDArray[np.float64]
    class_bar: npt.NDArray[np.float32]


@kernel
def mix(seed, counter):
    """Return 64 pseudo-random bits that depend on `seed` and `counter` alone (splitmix64, Steele et al., OOPSLA 2014)."""
    x = np.uint64(seed) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@kernel
def place_for(
    z_of,
    c_of,
    label_of,
    order_of,
    depth_of,
    mark_of,
    margin_of,
    crowd_of,
    shown_of,
    total_of,
    weighed_of,
    run_of,
    held_of,
    stored_of,
    s,
    seed,
    ring,
):
    """Return where the next anchor of client `s` goes; what lies there is moved into the reservoir or forgotten."""
    capacity = z_of.shape[2]
    n = stored_of[s]
    at = n % ring
    if n < ring:
        return at
    displaced = n - ring
    room = capacity - ring
    if displaced < room:
        to = ring + displaced
    else:
        used = (mark_of[s, at] & USED) != 0
        draw = np.int64(mix(seed, n) % np.uint64(displaced + 1))
        if draw >= room and not used:
            return at
        to = ring + draw % room
        if (mark_of[s, to] & USED) != 0 and not used:
            return at
    for k in range(z_of.shape[1]):
        z_of[s, k, to] = z_of[s, k, at]
    for j in range(c_of.shape[2]):
        c_of[s, to, j] = c_of[s, at, j]
    label_of[s, to] = label_of[s, at]
    order_of[s, to] = order_of[s, at]
    depth_of[s, to] = depth_of[s, at]
    mark_of[s, to] = mark_of[s, at]
    margin_of[s, to] = margin_of[s, at]
    crowd_of[s, to] = crowd_of[s, at]
    shown_of[s, to] = shown_of[s, at]
    if total_of.shape[0] > 0:
        total_of[s, to] = total_of[s, at]
        weighed_of[s, to] = weighed_of[s, at]
        run_of[s, to] = run_of[s, at]
    held_of[s] = max(held_of[s], to + 1)
    return at


@kernel
def choose_nearest(bits, held, keys, lowest, best):
    """Write the places of the nearest anchors into `best`, nearest first, ties by place; return how many there are.

    `bits` are the squared distances read as integers, whose order is the same because none is negative; with its place below
    it each becomes one key. Every eighth key makes a group, whose least is in `lowest`, so that the next nearest is found
    among eight and its group searched again, without a branch that depends on the data.
    """
    for m in range(held):
        keys[m] = np.int64(bits[m]) << 16 | m
    for group in range(GROUPS):
        least = TAKEN
        for m in range(group, held, GROUPS):
            least = min(least, keys[m])
        lowest[group] = least
    found = min(held, NEIGHBOURS)
    for j in range(found):
        least = lowest[0]
        for group in range(1, GROUPS):
            least = min(least, lowest[group])
        nearest = least & 0xFFFF
        best[j] = nearest
        keys[nearest] = TAKEN
        least = TAKEN
        for m in range(nearest % GROUPS, held, GROUPS):
            least = min(least, keys[m])
        lowest[nearest % GROUPS] = least
    return found
