"""Knockoff: ask about pictures that have nothing to do with the victim's task, and learn from the confidences."""

import numpy as np

from detector.redteam.conversation import Array, Conversation, Labels, Query, ValueRange
from detector.redteam.foreign_pools import FOREIGN
from detector.redteam.network import Network, train


def knockoff_random(
    pool: Array,
    labels: Labels,
    rng: np.random.Generator,
    value_range: ValueRange,
    classes: int,
    *,
    foreign: Array | None = None,
    kind: str = "mixture",
) -> Conversation:
    """Knockoff Nets with random selection (Orekondy, Schiele, Fritz, CVPR 2019, section 4.1).

    Asks about pictures of another data set, independent of the answers. `foreign` (k, dimension) is that data set, gone
    through in random order without replacement, after which the conversation ends; by default pictures are drawn, of a
    `kind` of `foreign_pools` (with its limits), and there is no end. Its queries are natural in the sense of `Query`,
    though none belongs to the victim's task. Needs probabilities to copy well; used with labels alone it is CopycatCNN
    (Correia-Silva et al., IJCNN 2018), whose pictures are as foreign.

    Of `pool` only the dimension is read. Raises ValueError at the first query if that is not a square picture's.
    """
    del labels, classes
    if foreign is not None:
        for index in rng.permutation(len(foreign)):
            yield Query(foreign[index])
        return
    draw = FOREIGN[kind]
    while True:
        yield Query(draw(pool.shape[1], rng, value_range))


def knockoff_adaptive(
    pool: Array,
    labels: Labels,
    rng: np.random.Generator,
    value_range: ValueRange,
    classes: int,
    *,
    rate: float = 0.5,
    batch: int = 20,
) -> Conversation:
    """Knockoff Nets with adaptive selection (Orekondy, Schiele, Fritz, CVPR 2019, section 4.1).

    A gradient bandit (Sutton, Barto, section 2.8) over the classes of the foreign data, which here are the kinds of
    `foreign_pools`. The reward is the mean of the paper's three, each scaled to what it has been so far: the victim is
    sure, its answers are unlike the average answer, and the copy is wrong. The copy is trained anew every `batch`
    queries.

    Needs probabilities. With five kinds there is little to choose; the paper has hundreds of classes. Never ends. Of
    `pool` only the dimension is read; raises ValueError at the first query if that is not a square picture's.
    """
    del labels, classes
    kinds = tuple(FOREIGN.values())
    preference = np.zeros(len(kinds))
    asked: list[Array] = []
    told: list[Array] = []
    rewards: list[Array] = []
    copy: Network | None = None
    while True:
        policy = np.exp(preference - preference.max())
        policy /= policy.sum()
        action = int(rng.choice(len(kinds), p=policy))
        picture = kinds[action](pool.shape[1], rng, value_range)
        answer = yield Query(picture)
        asked.append(picture)
        told.append(answer)
        rewards.append(_rewards(picture, answer, np.stack(told[-200:]).mean(axis=0), copy))
        seen = np.stack(rewards[-200:])
        low, high = seen.min(axis=0), seen.max(axis=0)
        scaled = ((seen - low) / np.maximum(high - low, 1e-12)).mean(axis=1)
        advantage = scaled[-1] - scaled.mean()
        preference -= rate * advantage * policy
        preference[action] += rate * advantage
        if len(asked) % batch == 0:
            copy = train(np.stack(asked), np.stack(told), rng, steps=150)


def _rewards(picture: Array, answer: Array, usual: Array, copy: Network | None) -> Array:
    """Certainty, diversity and the copy's loss, (3,)."""
    ordered = np.sort(answer)
    loss = 0.0 if copy is None else float(-(answer @ np.log(np.maximum(copy.probabilities(picture[None])[0], 1e-12))))
    return np.array([ordered[-1] - ordered[-2], np.maximum(answer - usual, 0.0).sum(), loss])
