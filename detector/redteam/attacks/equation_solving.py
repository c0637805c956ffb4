"""Equation solving: a linear model's confidences are equations in its weights, and equations can be solved."""

import numpy as np

from detector.redteam.conversation import AskedQuery, Conversation
from detector.redteam.entries import attack
from detector.redteam.setting import Setting


@attack(
    id="equation_solving",
    title="Equations of a linear model",
    family="equation solving",
    source="Tramèr et al., USENIX Security 2016, section 4.1",
    data=("image", "tabular"),
    needs="probabilities",
)
def equation_solving(setting: Setting) -> Conversation:
    """Equation-solving attack on logistic and softmax regression (Tramèr et al., USENIX Security 2016, section 4.1).

    Asks about random points; `linear.solve` turns dimension + 1 answers (after one-hot encoding of codes) into the weights.
    Points are uniform in a box around the pool's mean, the whole space at first. Answers that are all but certain carry
    no usable equation once they are rounded, so the box shrinks after each of them and slowly grows again.

    Needs probabilities; with labels alone it is `uniform` in a shrinking box. Solves linear models exactly; of any
    other model it makes the best linear copy, which is poor. Goes on after the last equation, because further ones
    average the rounding of answers away. Never ends.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    centre = pool.mean(axis=0) if len(pool) else (space.low + space.high) / 2.0
    reach = 1.0
    while True:
        drawn = space.draw(1, rng)[0]
        made = space.settle(np.where(space.coded, drawn, centre + reach * (drawn - centre)))
        answer = yield AskedQuery(made, synthetic=True)
        reach = max(0.8 * reach, 0.02) if answer.max() > 0.995 else min(1.02 * reach, 1.0)
