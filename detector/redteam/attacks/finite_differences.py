"""Finite differences: read the model's gradient off pairs of almost equal queries."""

from collections.abc import Generator

import numpy as np

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, draws
from detector.redteam.entries import attack
from detector.redteam.setting import Setting
from detector.redteam.space import Space


@attack(
    id="finite_differences",
    title="Gradients by symmetric differences",
    family="score based",
    source="Chen et al., AISec 2017, equation 6",
    data=("image", "tabular"),
    needs="probabilities",
)
def finite_differences(setting: Setting, *, step: float = 0.01) -> Conversation:
    """Gradients by symmetric difference quotients (Chen et al., AISec 2017, equation 6), one natural example after another.

    Asks about the example and, for every ordered column in random order, a `step` (in units of the column's range, one
    unit at least in whole-number columns) to either side. A gradient is worth as many queries as there are inputs, and
    teaches a copy as much as all of them (Milli et al., FAT* 2019).

    Needs natural examples and probabilities that are not rounded to fewer digits than the step changes them by; with
    labels only it sees nothing but boundaries. Never ends.
    """
    pool, rng, space = setting.pool, setting.rng, setting.space
    for index in draws(len(pool), rng):
        answer = yield AskedQuery(pool[index])
        yield from jacobian(pool[index], answer, space, rng, step=step)


def jacobian(
    point: Array, answer: Answer, space: Space, rng: np.random.Generator, *, step: float
) -> Generator[AskedQuery, Answer, Array]:
    """Derivatives of all probabilities, (dimension, classes); zero for codes.

    At the border of its range a column moves inwards only, and `answer`, the one at the point, serves for the other side.
    """
    slopes = np.zeros((space.dimension, answer.size))
    for column in rng.permutation(space.numeric):
        reach = step * space.width[column]
        if space.whole[column]:
            reach = max(1.0, np.rint(reach))
        sides: list[float] = []
        values: list[Answer] = []
        for sign in (1.0, -1.0):
            probe = point.copy()
            probe[column] += sign * reach
            probe = space.settle(probe)
            sides.append(float(probe[column]))
            values.append(answer if probe[column] == point[column] else (yield AskedQuery(probe, synthetic=True)))
        slopes[column] = (values[0] - values[1]) / (sides[0] - sides[1])
    return slopes
