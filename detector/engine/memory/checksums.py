"""Checksums: two sums over all values of a query that show which single value changed, sampled or not.

The memory keeps a projection and a sample of a query with many values. If a value outside the sample moves alone, the sample
does not show it and the projection blurs it. So each retained query has two sums of its values in whole steps: `total` adds the
values, and `weighed` adds each value times its own weight. If one value moved by d steps, the totals differ by d and the
weighed sums by d times its weight. That shows how far it moved and which value it is. Both sums are kept modulo 2^32 without
rounding, so a value that did not move adds nothing to the difference. (Huang and Abraham, IEEE Transactions on Computers, 1984,
find an error with such weighted checksums; here they find the value that changed.)

Finding the weight means dividing by d. The odd part of d has an inverse modulo 2^32. The power of two in d leaves only the low
bits of the weight known. So the weights are sorted by their bits read backwards: known low bits then select a range, which
bisection finds. A change of two values passes for one in about (number of weights) / 2^32 of the cases.

Checksums are kept only where not all values are sampled, and not in tables, whose numbers have coordinates of their own.

Blind to: steps below LEAST (0.000016 of the value range), values more than 1,000 value ranges off, several values at once.
"""

from functools import cache
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.columns import RETAINED, Column
from detector.engine.evidence.probe import SIZES
from detector.engine.kernels import kernel, part
from detector.engine.memory.reservoir import mix

STEPS = 1_000_003  # steps in a value range; odd, so that round sizes of a change have few factors of two
LEAST = 16  # least change in steps; below it a change may be rounding, since a float32 within the range is exact to less
FARTHEST = 1000.0  # value ranges beyond which a value counts as this far
MASK = 0xFFFFFFFF
HALF = 1 << 31


class Checksums(NamedTuple):
    """Per client: the two sums of each retained query, and the client's last single changes.

    `run` is how many single changes in a row led to a retained query. `value` (changes,) are the values that moved, counted
    from 1 (0: none yet), and `size` is how far each moved, in steps with sign. `singles` counts all single changes; the latest
    is at the place before `singles` modulo the number of places. There are no rows where checksums are not needed.
    """

    total: Annotated[npt.NDArray[np.uint32], Column(RETAINED)]
    weighed: Annotated[npt.NDArray[np.uint32], Column(RETAINED)]
    run: Annotated[npt.NDArray[np.uint8], Column(RETAINED)]
    value: Annotated[npt.NDArray[np.uint32], Column(SIZES)]
    size: Annotated[npt.NDArray[np.int32], Column(SIZES)]
    singles: Annotated[npt.NDArray[np.uint32], Column()]


class Sums(NamedTuple):
    """One client's rows of `Checksums`; `singles` is its count."""

    total: npt.NDArray[np.uint32]
    weighed: npt.NDArray[np.uint32]
    run: npt.NDArray[np.uint8]
    value: npt.NDArray[np.uint32]
    size: npt.NDArray[np.int32]
    singles: np.int64


@kernel
def reversed_bits(x):
    """Return a number of 32 bits with its bits in the opposite order."""
    x = (x >> 1) & 0x55555555 | (x & 0x55555555) << 1
    x = (x >> 2) & 0x33333333 | (x & 0x33333333) << 2
    x = (x >> 4) & 0x0F0F0F0F | (x & 0x0F0F0F0F) << 4
    x = (x >> 8) & 0x00FF00FF | (x & 0x00FF00FF) << 8
    return (x >> 16) & 0x0000FFFF | (x & 0x0000FFFF) << 16


@kernel
def draw_keys(keys):
    """Fill `keys` with pseudo-random numbers, in order."""
    for p in range(keys.shape[0]):
        keys[p] = mix(0, p + 1) >> np.uint64(32)
    keys.sort()


@kernel
def reverse_all(keys, weights):
    """Fill `weights` with the keys' bits read backwards."""
    for p in range(keys.shape[0]):
        weights[p] = reversed_bits(np.int64(keys[p]))


@cache
def weights_of(dimension: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Return the weights (dimension,), the same for ever, and their bits read backwards, which ascend.

    >>> weights, keys = weights_of(3)
    >>> [f"{int(weight):032b}"[::-1] == f"{int(key):032b}" for weight, key in zip(weights, keys, strict=True)]
    [True, True, True]
    """
    keys, weights = np.empty((2, dimension), np.uint32)
    draw_keys(keys)
    reverse_all(keys, weights)
    return weights, keys


@kernel
def add_up(encoded, weights, sums):
    """Write the two sums of each row of `encoded` (n, encoded), of which the first `weights` count, into `sums` (n, 2)."""
    for i in range(encoded.shape[0]):
        total = np.uint32(0)
        weighed = np.uint32(0)
        for d in range(weights.shape[0]):
            x = min(max(np.float64(encoded[i, d]), -FARTHEST), FARTHEST)
            steps = np.uint32(np.int32(np.rint(x * STEPS)))
            total = np.uint32(total + steps)
            weighed = np.uint32(weighed + np.uint32(steps * weights[d]))
        sums[i, 0] = total
        sums[i, 1] = weighed


@kernel
def single_change(total, weighed, earlier_total, earlier_weighed, keys):
    """Return the single value that moved between an earlier query and this one, and its steps; (-1, 0) if there is none.

    The first four arguments are the sums of the two queries. `keys` (dimension,) are the weights' bits read backwards. The cost
    is about that of a dozen divisions.
    """
    moved = (np.int64(total) - np.int64(earlier_total)) & MASK
    across = (np.int64(weighed) - np.int64(earlier_weighed)) & MASK
    size = moved - (1 << 32) if moved >= HALF else moved
    if abs(size) < LEAST:
        return -1, 0
    twos = 0
    while moved & 1 == 0:
        moved >>= 1
        twos += 1
    if across & ((1 << twos) - 1) != 0:
        return -1, 0
    # Newton's iteration doubles the number of correct bits. It starts with three: an odd number is its own inverse modulo 8.
    inverse = moved
    for _ in range(4):
        inverse = (inverse * (2 - moved * inverse)) & MASK
    known = (1 << (32 - twos)) - 1
    key = reversed_bits(((across >> twos) * inverse) & known)
    low = 0
    high = keys.shape[0]
    while low < high:
        middle = (low + high) // 2
        if np.int64(keys[middle]) < key:
            low = middle + 1
        else:
            high = middle
    last = key + (1 << twos) - 1
    if low == keys.shape[0] or np.int64(keys[low]) > last:
        return -1, 0
    if low + 1 < keys.shape[0] and np.int64(keys[low + 1]) <= last:
        return -1, 0
    return low, size


@part
def agree(checksums, s, m, sums, i):
    """Tell whether query `i` has the checksums of the query that client `s` has at place `m`; True where none are kept."""
    if checksums.total.shape[0] == 0:
        return True
    return checksums.total[s, m] == sums[i, 0] and checksums.weighed[s, m] == sums[i, 1]


@part
def retain_sums(checksums, s, at, to, sums, run):
    """Write the checksums of a new query to place `at`; the old ones move to place `to` before, unless that is -1."""
    if to >= 0:
        checksums.total[s, to] = checksums.total[s, at]
        checksums.weighed[s, to] = checksums.weighed[s, at]
        checksums.run[s, to] = checksums.run[s, at]
    checksums.total[s, at] = sums[0]
    checksums.weighed[s, at] = sums[1]
    checksums.run[s, at] = run


@part
def remember_change(checksums, s, value, size):
    """Note that a single value of client `s` moved by so many steps."""
    at = checksums.singles[s] % checksums.value.shape[1]
    checksums.value[s, at] = value + 1
    checksums.size[s, at] = size
    checksums.singles[s] += 1
