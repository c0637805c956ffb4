"""Counts: how often channels counted a retained query or its cluster, four bits for each channel.

They are small by nature, since a cluster counts a few times at most, and a client has one for each query that is retained.
"""

import numpy as np

from detector.engine.kernels import kernel, part

DWELT, SHOWN, COMPARED, TURNED = 0, 4, 8, 12  # the first bit of each count
MOST = 15  # largest count: who goes on counting stays there


@part
def count_of(past, place, which):
    """Return one of the counts of the retained query at `place`."""
    return (np.int64(past.counts[place]) >> which) & MOST


@part
def set_count(past, place, which, value):
    """Set one of the counts of the retained query at `place`."""
    rest = np.int64(past.counts[place]) & ~(MOST << which)
    past.counts[place] = np.uint16(rest | (min(value, MOST) << which))


@kernel
def all_counts(dwelt, shown, turned):
    """Return the counts of a new query, which was not compared yet."""
    return np.uint16(min(dwelt, MOST) << DWELT | min(shown, MOST) << SHOWN | min(turned, MOST) << TURNED)
