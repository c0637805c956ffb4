"""A client as a conversation with the model.

A generator is the natural form of an adaptive client: it keeps its plan in local variables and waits at each ``yield``
for the answer. Most clients never end; the budget of whoever plays them does.
"""

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Labels: TypeAlias = npt.NDArray[np.int64]
ValueRange: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class AskedQuery:
    """One question to the model.

    `vector` has shape (dimension,). `synthetic` marks what the attacker made, as against an example that exists outside
    the attack: seeds and pictures of another data set are natural. `cover` marks what a thief asks only to look innocent.
    Both are the truth for evaluation; no detector sees them.
    """

    vector: Array
    synthetic: bool = False
    cover: bool = False


Answer: TypeAlias = Array
Conversation: TypeAlias = Generator[AskedQuery, Answer, None]
Predict: TypeAlias = Callable[[Array], Array]
Found = TypeVar("Found")


def converse(conversation: Conversation, predict: Predict, budget: int) -> tuple[Array, Array, npt.NDArray[np.bool_]]:
    """Play one client against a model until it ends or has asked `budget` queries, and close it.

    `predict` maps (n, dimension) to probabilities (n, classes); it is called with one row at a time, because the next
    query may depend on the answer. Returns the vectors (n, dimension), the answers (n, classes) and which queries were
    synthetic (n,); without any query the first two have shape (0, 0).

    >>> def client():
    ...     answer = yield AskedQuery(np.zeros(2))
    ...     while True:
    ...         answer = yield AskedQuery(answer, synthetic=True)
    >>> vectors, answers, synthetic = converse(client(), lambda X: X + 1.0, budget=3)
    >>> vectors.tolist(), synthetic.tolist()
    ([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [False, True, True])
    """
    vectors: list[Array] = []
    answers: list[Answer] = []
    synthetic: list[bool] = []
    try:
        query = next(conversation) if budget > 0 else None
        while query is not None:
            answer = np.asarray(predict(query.vector[None]), dtype=np.float64)[0]
            vectors.append(query.vector)
            answers.append(answer)
            synthetic.append(query.synthetic)
            query = conversation.send(answer) if len(vectors) < budget else None
    except StopIteration:
        pass
    finally:
        conversation.close()
    if not vectors:
        return np.empty((0, 0)), np.empty((0, 0)), np.empty(0, dtype=np.bool_)
    return np.stack(vectors), np.stack(answers), np.array(synthetic)


def found_by(part: Generator[AskedQuery, Answer, Found], predict: Predict) -> tuple[Found, int]:
    """Play a part of a client that ends by itself: what it found, and how many queries it took.

    >>> def client():
    ...     answer = yield AskedQuery(np.zeros(2))
    ...     return float(answer.sum())
    >>> found_by(client(), lambda X: X + 1.0)
    (2.0, 1)
    """
    asked = 0
    try:
        query = next(part)
        while True:
            asked += 1
            query = part.send(np.asarray(predict(query.vector[None]), dtype=np.float64)[0])
    except StopIteration as end:
        return end.value, asked


def draws(size: int, rng: np.random.Generator) -> Iterator[int]:
    """Endless independent draws from ``range(size)``, never the same twice in a row unless there is but one.

    Raises ValueError if there is nothing to draw from.
    """
    if size < 1:
        raise ValueError("a client needs at least one picture to ask about")
    previous = -1
    while True:
        index = int(rng.integers(size))
        if index != previous or size == 1:
            yield index
            previous = index


def ask(vector: Array) -> Generator[AskedQuery, Answer, int]:
    """Ask about something the attacker made; returns the label of the answer. For ``yield from``."""
    answer = yield AskedQuery(vector, synthetic=True)
    return int(np.argmax(answer))


def ask_some(pool: Array, count: int, rng: np.random.Generator) -> Generator[AskedQuery, Answer, tuple[list[Array], list[int]]]:
    """Ask about `count` natural pictures drawn at random, or all there are; returns them and their labels.

    For ``yield from``.
    """
    asked: list[Array] = []
    labels: list[int] = []
    for index in rng.choice(len(pool), size=min(count, len(pool)), replace=False):
        answer = yield AskedQuery(pool[index])
        asked.append(pool[index])
        labels.append(int(np.argmax(answer)))
    return asked, labels


def two_labels(pool: Array, rng: np.random.Generator) -> Generator[AskedQuery, Answer, tuple[Array, int, Array]]:
    """Ask about natural pictures until two have different labels; returns the first, its label, and the other.

    For ``yield from``. Never returns if the model gives the same label to the whole pool.
    """
    order = draws(len(pool), rng)
    first = pool[next(order)]
    label = int(np.argmax((yield AskedQuery(first))))
    while True:
        other = pool[next(order)]
        answer = yield AskedQuery(other)
        if int(np.argmax(answer)) != label:
            return first, label, other
