"""Counts: how often channels counted a retained query or its cluster, two or four bits for each channel.

They are small by nature, since a cluster counts a few times at most, and a client has one for each query that is retained.
"""

import numpy as np

from detector.engine.kernels import kernel, part

DWELT, SHOWN, STEEP, COMPARED, TURNED = 0, 4, 6, 8, 12  # the first bit of each count
MOST, FEW = 15, 3  # largest counts of four bits and of two: who goes on counting stays there


@part
def count_of(past, place, which):
    """Return one of the counts of the retained query at `place`."""
    return (np.int64(past.counts[place]) >> which) & most_of(which)


@kernel
def most_of(which):
    """Return the largest value of a count."""
    return FEW if which in (SHOWN, STEEP) else MOST


@part
def most_counted(past, which, near, unit):
    """Return the largest of one of the counts among the retained queries that are closer than `near` to the new one."""
    counted = 0
    for m in range(past.held):
        if past.squares[m] * unit * unit < near * near:
            counted = max(counted, count_of(past, m, which))
    return counted


@part
def set_count(past, place, which, value):
    """Set one of the counts of the retained query at `place`."""
    most = most_of(which)
    rest = np.int64(past.counts[place]) & ~(most << which)
    past.counts[place] = np.uint16(rest | (min(value, most) << which))


@kernel
def all_counts(dwelt, shown, steep, turned):
    """Return the counts of a new query, which was not compared yet."""
    few = min(shown, FEW) << SHOWN | min(steep, FEW) << STEEP
    return np.uint16(min(dwelt, MOST) << DWELT | few | min(turned, MOST) << TURNED)
