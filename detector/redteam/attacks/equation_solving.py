"""Equation solving: a linear model's confidences are equations in its weights, and equations can be solved."""

import numpy as np

from detector.redteam.conversation import Array, Conversation, Query
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

    Asks about random points; `solve` turns dimension + 1 answers (after one-hot encoding of codes) into the weights.
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
        answer = yield Query(made, synthetic=True)
        reach = max(0.8 * reach, 0.02) if answer.max() > 0.995 else min(1.02 * reach, 1.0)


def solve(features: Array, answers: Array, *, least: float = 1e-9) -> tuple[Array, Array]:
    """Weights (dimension, classes) and biases (classes,) of the softmax regression that gave `answers` (n, classes).

    `features` (n, dimension) are the queries, encoded where they have codes. Relative to class 0, whose weights are
    zero: a softmax does not determine more. Probabilities of `least` or below are taken as cut off by the server and
    not used. With more equations than unknowns the answer is that of least squares.

    Raises ValueError if a class has fewer usable equations than unknowns.

    >>> X = np.array([[0.0], [1.0], [2.0]])
    >>> positive = 1 / (1 + np.exp(-(3 * X - 1)))
    >>> weights, biases = solve(X, np.hstack([1 - positive, positive]))
    >>> weights.round(6).tolist(), biases.round(6).tolist()
    ([[0.0, 3.0]], [0.0, -1.0])
    """
    classes = answers.shape[1]
    unknowns = features.shape[1] + 1
    solution = np.zeros((unknowns, classes))
    system = np.hstack([features, np.ones((len(features), 1))])
    for label in range(1, classes):
        usable = (answers[:, label] > least) & (answers[:, 0] > least)
        if usable.sum() < unknowns:
            raise ValueError(f"{int(usable.sum())} usable answers for class {label}, {unknowns} are needed")
        ratio = np.log(answers[usable, label] / answers[usable, 0])
        solution[:, label] = np.linalg.lstsq(system[usable], ratio)[0]
    return solution[:-1], solution[-1]
