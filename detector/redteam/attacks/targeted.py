"""Targeted augmentation: step from every known point towards a class picked at random."""

from functools import partial

import numpy as np

from detector.redteam.conversation import AskedQuery, Conversation, ask_some
from detector.redteam.entries import attack
from detector.redteam.jacobian_steps import Strides
from detector.redteam.network import one_hot, train
from detector.redteam.setting import Setting


@attack(
    id="jbrand",
    title="One step towards a random class",
    family="synthetic from seeds",
    source="Juuti et al., EuroS&P 2019, section 3",
    data=("image", "tabular"),
)
def targeted(setting: Setting, *, seeds: int = 20, step: float = 25.5 / 255, iterations: int = 1) -> Conversation:
    """Targeted random augmentation (Juuti et al., EuroS&P 2019, section 3: T-RND; with one iteration also "JbRand").

    As `jbda`, but each point is moved so that the substitute sees in it another class, drawn at random: `iterations`
    sign steps of ``step / iterations``, the gradient taken anew before each (iterated FGSM). T-RND steps by 64/255;
    the number of its iterations here, five, is a choice of this module.

    In tables a number moves by that share of its column's range, as in `jbda`.

    Needs a handful of natural examples, and labels only. Never ends; fewer examples than `seeds` are all used. Raises
    ValueError at the first query if there is none, or only one class.
    """
    pool, rng, classes = setting.pool, setting.rng, setting.classes
    if len(pool) == 0 or classes < 2:
        raise ValueError("the attack needs at least one natural picture and two classes")
    strides = Strides.of(setting, step)
    asked, responses = yield from ask_some(pool, seeds, rng)
    while True:
        X = np.stack(asked)
        y = np.array(responses)
        substitute = train(strides.features(X), one_hot(y, classes), rng, steps=200)
        aims = (y + rng.integers(1, classes, len(y))) % classes
        for _ in range(iterations):
            slopes = strides.slopes(substitute.label_gradients(strides.features(X), aims))
            X = np.clip(X + strides.size / iterations * np.sign(slopes), strides.space.low, strides.space.high)
        X = strides.space.settle(X)
        for made in X:
            answer = yield AskedQuery(made, synthetic=True)
            asked.append(made)
            responses.append(int(np.argmax(answer)))


attack(
    id="t_rnd",
    title="Iterated steps towards a random class",
    family="synthetic from seeds",
    source="Juuti et al., EuroS&P 2019, section 3",
    data=("image", "tabular"),
)(partial(targeted, step=64 / 255, iterations=5))
