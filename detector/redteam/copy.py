"""The surrogate: how good a copy this client could train by now.

The measure of harm. Fidelity is the share of fresh examples on which the copy and the victim agree (Jagielski et al.,
USENIX Security 2020), as against accuracy, which asks who is right.
"""

import numpy as np

from detector.redteam.conversation import Array, Predict
from detector.redteam.network import train


def fidelity(vectors: Array, answers: Array, test_X: Array, victim_predict: Predict, rng_seed: int) -> float:
    """Share of `test_X` on which a copy trained on what the client was told agrees with the victim.

    `vectors` (n, dimension) and `answers` (n, classes) are what was asked and told, one-hot where only labels were; the
    copy is a network of 128 hidden units trained on the whole distributions, since confidences teach more than labels.
    Takes about a tenth of a second at 64 inputs, whatever n. A client that was told nothing has copied nothing: 0.0;
    one that has seen a single class has a copy that says that class.

    It is an estimate from below: a thief with more patience, or with unlabelled data of his own, does better.
    """
    if len(vectors) == 0:
        return 0.0
    rng = np.random.default_rng(rng_seed)
    copy = train(vectors, answers, rng, hidden=128)
    agree = copy.probabilities(test_X).argmax(axis=1) == victim_predict(test_X).argmax(axis=1)
    return float(agree.mean())
