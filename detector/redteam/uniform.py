"""Uniform random queries: the thief who knows nothing but the shape of the input."""

import numpy as np

from detector.redteam.conversation import Array, Conversation, Labels, Query, ValueRange


def uniform(pool: Array, labels: Labels, rng: np.random.Generator, value_range: ValueRange, classes: int) -> Conversation:
    """Retraining with uniform queries (Tramèr et al., USENIX Security 2016, section 6).

    Every value is drawn independently and uniformly from the value range. Needs no data (of `pool` only the dimension
    is read) and no probabilities. Copies a model of few inputs; on pictures most answers fall into one or two classes
    and the copy stays poor. Never ends.
    """
    del labels, classes
    lo, hi = value_range
    while True:
        yield Query(np.asarray(rng.uniform(lo, hi, pool.shape[1])), synthetic=True)
