"""Knockoff: ask about pictures that have nothing to do with the victim's task, and learn from the confidences."""

from functools import partial

import numpy as np

from detector.redteam.conversation import Array, AskedQuery, Conversation
from detector.redteam.entries import attack
from detector.redteam.foreign_pools import FOREIGN
from detector.redteam.network import Network, train
from detector.redteam.setting import Setting
from detector.redteam.texts import embedded, foreign_sentence


@attack(
    id="knockoff_random",
    title="Knockoff Nets, random selection",
    family="natural data",
    source="Orekondy et al., CVPR 2019, section 4.1",
    needs="probabilities",
)
def knockoff_random(setting: Setting, *, foreign: Array | None = None, kind: str = "mixture") -> Conversation:
    """Knockoff Nets with random selection (Orekondy, Schiele, Fritz, CVPR 2019, section 4.1).

    Asks about pictures of another data set, independent of the answers. `foreign` (k, dimension) is that data set, gone
    through in random order without replacement, after which the conversation ends; by default pictures are drawn, of a
    `kind` of `foreign_pools` (with its limits), and there is no end. Its queries are natural in the sense of `AskedQuery`,
    though none belongs to the victim's task. Needs probabilities to copy well; used with labels alone it is CopycatCNN
    (Correia-Silva et al., IJCNN 2018), whose pictures are as foreign.

    Of `pool` only the dimension is read. Raises ValueError at the first query if that is not a square picture's.
    """
    pool, rng = setting.pool, setting.rng
    if foreign is not None:
        for index in rng.permutation(len(foreign)):
            yield AskedQuery(foreign[index])
        return
    draw = FOREIGN[kind]
    while True:
        yield AskedQuery(draw(pool.shape[1], rng, setting.value_range))


@attack(
    id="knockoff_adaptive",
    title="Knockoff Nets, adaptive selection",
    family="natural data",
    source="Orekondy et al., CVPR 2019, section 4.1",
    needs="probabilities",
)
def knockoff_adaptive(setting: Setting, *, rate: float = 0.5, batch: int = 20) -> Conversation:
    """Knockoff Nets with adaptive selection (Orekondy, Schiele, Fritz, CVPR 2019, section 4.1).

    A gradient bandit (Sutton, Barto, section 2.8) over the classes of the foreign data, which here are the kinds of
    `foreign_pools`. The reward is the mean of the paper's three, each scaled to what it has been so far: the victim is
    sure, its answers are unlike the average answer, and the copy is wrong. The copy is trained anew every `batch`
    queries.

    Needs probabilities. With five kinds there is little to choose; the paper has hundreds of classes. Never ends. Of
    `pool` only the dimension is read; raises ValueError at the first query if that is not a square picture's.
    """
    pool, rng = setting.pool, setting.rng
    kinds = tuple(FOREIGN.values())
    preference = np.zeros(len(kinds))
    asked: list[Array] = []
    responses: list[Array] = []
    rewards: list[Array] = []
    copy: Network | None = None
    while True:
        policy = np.exp(preference - preference.max())
        policy /= policy.sum()
        action = int(rng.choice(len(kinds), p=policy))
        picture = kinds[action](pool.shape[1], rng, setting.value_range)
        answer = yield AskedQuery(picture)
        asked.append(picture)
        responses.append(answer)
        rewards.append(_rewards(picture, answer, np.stack(responses[-200:]).mean(axis=0), copy))
        seen = np.stack(rewards[-200:])
        low, high = seen.min(axis=0), seen.max(axis=0)
        scaled = ((seen - low) / np.maximum(high - low, 1e-12)).mean(axis=1)
        advantage = scaled[-1] - scaled.mean()
        preference -= rate * advantage * policy
        preference[action] += rate * advantage
        if len(asked) % batch == 0:
            copy = train(np.stack(asked), np.stack(responses), rng, steps=150)


attack(
    id="knockoff_textures",
    title="Knockoff Nets on textures",
    family="natural data",
    source="Orekondy et al., CVPR 2019, section 4.1",
    needs="probabilities",
)(partial(knockoff_random, kind="textures"))
attack(
    id="knockoff_shapes",
    title="Knockoff Nets on plain shapes",
    family="natural data",
    source="Orekondy et al., CVPR 2019, section 4.1",
    needs="probabilities",
)(partial(knockoff_random, kind="shapes"))
attack(
    id="copycat",
    title="CopycatCNN: photographs and hard labels",
    family="natural data",
    source="Correia-Silva et al., IJCNN 2018",
)(partial(knockoff_random, kind="photographs"))


@attack(
    id="knockoff_texts",
    title="Knockoff Nets on texts of another kind",
    family="natural data",
    source="Orekondy et al., CVPR 2019, section 4.1",
    data=("text",),
    needs="probabilities",
)
def knockoff_texts(setting: Setting) -> Conversation:
    """Knockoff Nets with random selection on texts: from novels, as it were.

    The sentences belong to none of the topics, and nothing is made up in the sense of `AskedQuery`. Of `pool` nothing is read.
    Never ends.
    """
    while True:
        yield AskedQuery(embedded(foreign_sentence(setting.rng)))


def _rewards(picture: Array, answer: Array, usual: Array, copy: Network | None) -> Array:
    """Certainty, diversity and the copy's loss, (3,)."""
    ordered = np.sort(answer)
    loss = 0.0 if copy is None else float(-(answer @ np.log(np.maximum(copy.probabilities(picture[None])[0], 1e-12))))
    return np.array([ordered[-1] - ordered[-2], np.maximum(answer - usual, 0.0).sum(), loss])
