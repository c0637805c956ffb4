"""Knockoff: ask about pictures that have nothing to do with the victim's task, and learn from the confidences."""

import numpy as np

from detector.redteam.conversation import Array, Conversation, Labels, Query, ValueRange
from detector.redteam.foreign import foreign_picture


def knockoff_random(
    pool: Array,
    labels: Labels,
    rng: np.random.Generator,
    value_range: ValueRange,
    classes: int,
    *,
    foreign: Array | None = None,
) -> Conversation:
    """Knockoff Nets with random selection (Orekondy, Schiele, Fritz, CVPR 2019, section 4.1).

    Asks about pictures of another data set, independent of the answers. `foreign` (k, dimension) is that data set, gone
    through in random order without replacement, after which the conversation ends; by default pictures are drawn by
    formula (`foreign`, with its limits) and there is no end. Its queries are natural in the sense of `Query`, though
    none belongs to the victim's task. Needs probabilities to copy well.

    Of `pool` only the dimension is read. Raises ValueError at the first query if that is not a square picture's.
    """
    del labels, classes
    if foreign is not None:
        for index in rng.permutation(len(foreign)):
            yield Query(foreign[index])
        return
    while True:
        yield Query(foreign_picture(pool.shape[1], rng, value_range))
