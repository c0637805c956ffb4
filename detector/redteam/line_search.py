"""Line search: find the boundary between two labels by halving the way from one example to the other."""

import numpy as np

from detector.redteam.conversation import Array, Conversation, Labels, ValueRange, ask, two_labels


def line_search(
    pool: Array,
    labels: Labels,
    rng: np.random.Generator,
    value_range: ValueRange,
    classes: int,
    *,
    tolerance: float = 0.01,
) -> Conversation:
    """Line-search retraining (Tramèr et al., USENIX Security 2016, section 6), from natural examples.

    Asks about natural pictures until two have different labels, then bisects between them until the bracket is shorter
    than `tolerance` times the value range (Euclidean), then takes the next two. The points found lie on the boundary,
    where they teach a substitute most.

    Needs natural pictures of at least two labels, and labels only. Never ends; on a model with one label it goes on
    asking about natural pictures.
    """
    del labels, classes
    lo, hi = value_range
    while True:
        near, label, far = yield from two_labels(pool, rng)
        while np.linalg.norm(far - near) > tolerance * (hi - lo):
            middle = (near + far) / 2.0
            if (yield from ask(middle)) == label:
                near = middle
            else:
                far = middle
