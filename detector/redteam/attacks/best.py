"""BEST: make pictures that the copy cannot decide about at all."""

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation, ValueRange, draws
from detector.redteam.entries import attack
from detector.redteam.network import Network, train
from detector.redteam.setting import Setting


@attack(id="best", title="Pictures the copy cannot decide about", family="synthetic from seeds", source="Li et al., ICLR 2023")
def best(setting: Setting, *, seeds: int = 20, batch: int = 20, step: float = 4 / 255, iterations: int = 10) -> Conversation:
    """Boundary Entropy Searching Thief (Li et al., ICLR 2023): uncertain examples.

    Asks about `seeds` natural pictures; then in rounds of `batch` turns natural pictures into such as the copy gives
    the same confidence for every class (`uncertain`), and asks about those. What the victim says there teaches its
    boundaries, which also makes a copy that resists adversarial examples. Step and iterations are choices of this
    module, in units of the value range; the paper trains deep networks on a GPU.

    Needs natural pictures, and labels only. Never ends. Raises ValueError at the first query without a picture.
    """
    pool, rng, value_range = setting.pool, setting.rng, setting.value_range
    lo, hi = value_range
    order = draws(len(pool), rng)
    asked: list[Array] = []
    responses: list[Array] = []
    for _ in range(min(seeds, len(pool))):
        picture = pool[next(order)]
        answer = yield AskedQuery(picture)
        asked.append(picture)
        responses.append(answer)
    while True:
        copy = train(np.stack(asked), np.stack(responses), rng, steps=200)
        natural = np.stack([pool[next(order)] for _ in range(batch)])
        for made in uncertain(copy, natural, value_range, step=step * (hi - lo), iterations=iterations):
            answer = yield AskedQuery(made, synthetic=True)
            asked.append(made)
            responses.append(answer)


def uncertain(copy: Network, X: Array, value_range: ValueRange, *, step: float, iterations: int) -> Array:
    """Sign steps from X (n, dimension) that bring the copy's answer closer to uniform, by their cross-entropy."""
    classes = copy.outer.shape[1]
    made = X.copy()
    for _ in range(iterations):
        rise = sum(copy.label_gradients(made, np.full(len(made), label, dtype=np.int64)) for label in range(classes))
        made = np.clip(made + step * np.sign(rise), *value_range)
    return made
