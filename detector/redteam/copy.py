"""The surrogate: how good a copy this client could train by now.

The measure of harm. Fidelity is the share of fresh examples on which the copy and the victim agree (Jagielski et al.,
USENIX Security 2020), as against accuracy, which asks who is right.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from detector.redteam.conversation import Array, Labels, Predict
from detector.redteam.linear import solve
from detector.redteam.network import one_hot, train

Encode: TypeAlias = Callable[[Array], Array]


def fidelity(
    vectors: Array, answers: Array, test_X: Array, victim_predict: Predict, rng_seed: int, encode: Encode = np.asarray
) -> float:
    """Share of `test_X` on which a copy trained on the responses to the client agrees with the victim.

    `vectors` (n, dimension) and `answers` (n, classes) are the queries and the responses, one-hot where those are labels only.
    The copy is a network of 128 hidden units trained on the whole distributions, since confidences teach more than labels.
    `encode` turns records into features for the copy (`Space.encode`); pictures need none.
    Takes about a tenth of a second at 64 inputs, whatever n. A client without responses has copied nothing: 0.0;
    one that has seen a single class has a copy that says that class.

    It is an estimate from below: a thief with more patience, or with unlabelled data of his own, does better.
    """
    if len(vectors) == 0:
        return 0.0
    return _agreement(_network(encode(vectors), answers, encode(test_X), rng_seed), victim_predict(test_X))


def best_fidelity_at(
    moments: Iterable[int],
    vectors: Array,
    answers: Array,
    test_X: Array,
    victim_predict: Predict,
    rng_seed: int,
    encode: Encode = np.asarray,
) -> dict[int, float]:
    """Fidelity of the best copy that could be had after each number of queries in `moments`: what leaked until when.

    The thief may know what kind of model he is copying: the best of a network (`fidelity`), a decision tree, and the
    softmax regression that solves the answers' equations. A moment beyond the last query counts as the last. Copies are
    trained from scratch with the same seed, so that moments differ by the responses alone, up to the luck of training: a
    little up and down is no loss of knowledge.
    """
    truth = victim_predict(test_X)
    features, fresh = encode(vectors) if len(vectors) else vectors, encode(test_X)
    found: dict[int, float] = {}
    for moment in sorted(set(moments)):
        X, Y = features[:moment], answers[:moment]
        if not len(X):
            found[moment] = 0.0
            continue
        found[moment] = max(_agreement(guess, truth) for guess in guesses_of(X, Y, fresh, rng_seed))
    return found


def guesses_of(features: Array, answers: Array, fresh: Array, seed: int, *, labels_too: bool = False) -> list[Labels]:
    """What each copy of a thief says of `fresh` features: a network, a tree, and a softmax regression where there is one.

    `features` (n, width) and `answers` (n, classes) are the queries and the responses, n >= 1. With `labels_too` a second
    network learns from the labels alone, as a thief does who does not believe the confidences.
    """
    guesses = [_network(features, answers, fresh, seed), _tree(features, answers, fresh, seed)]
    labels = one_hot(answers.argmax(axis=1), answers.shape[1])
    if labels_too and not np.array_equal(labels, answers):
        guesses.append(_network(features, labels, fresh, seed))
    try:
        weights, biases = solve(features, answers, least=1.001e-4)
        guesses.append((fresh @ weights + biases).argmax(axis=1))
    except ValueError:  # too few answers that make an equation
        pass
    return guesses


def _network(X: Array, Y: Array, fresh: Array, seed: int) -> Labels:
    return np.asarray(train(X, Y, np.random.default_rng(seed), hidden=128).probabilities(fresh).argmax(axis=1))


def _tree(X: Array, Y: Array, fresh: Array, seed: int) -> Labels:
    tree = DecisionTreeClassifier(random_state=seed).fit(X, Y.argmax(axis=1))
    return np.asarray(tree.predict(fresh), dtype=np.int64)


def _agreement(guesses: Labels, truth: Array) -> float:
    return float((guesses == truth.argmax(axis=1)).mean())
