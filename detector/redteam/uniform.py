"""Uniform random queries: the thief who knows nothing but the shape of the input."""

import numpy as np

from detector.redteam.columns import Columns
from detector.redteam.conversation import Array, Conversation, Labels, Query, ValueRange
from detector.redteam.space import Space


def uniform(
    pool: Array,
    labels: Labels,
    rng: np.random.Generator,
    value_range: ValueRange,
    classes: int,
    *,
    columns: Columns | None = None,
) -> Conversation:
    """Retraining with uniform queries (Tramèr et al., USENIX Security 2016, section 6).

    Every value is drawn independently and uniformly from the value range, or from its column's. Needs no data (of
    `pool` only the dimension is read) and no probabilities. Copies a model of few inputs; on pictures most answers fall
    into one or two classes and the copy stays poor. Never ends.
    """
    del labels, classes
    space = Space.of(columns, value_range, pool.shape[1])
    while True:
        yield Query(space.draw(1, rng)[0], synthetic=True)
