from collections.abc import Generator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.redteam.conversation import Answer, Array, AskedQuery, Conversation, ask, converse, draws, two_labels


def _counting(until: int, log: list[str]) -> Conversation:
    try:
        for i in range(until):
            yield AskedQuery(np.full(2, float(i)), synthetic=i % 2 == 1)
    finally:
        log.append("closed")


def _identity(X: Array) -> Array:
    return X


@given(budget=st.integers(0, 20), length=st.integers(0, 20))
def test_a_conversation_stops_at_its_end_or_its_budget_and_is_closed(budget: int, length: int) -> None:
    """The transcript is as long as the shorter of the two, in order, and a begun generator is always closed."""
    log: list[str] = []
    vectors, answers, synthetic = converse(_counting(length, log), _identity, budget)
    asked = min(budget, length)
    assert len(vectors) == len(answers) == len(synthetic) == asked
    assert vectors.tolist() == [[float(i)] * 2 for i in range(asked)]
    assert synthetic.tolist() == [i % 2 == 1 for i in range(asked)]
    assert log == (["closed"] if budget > 0 else [])


def test_a_client_hears_the_answer_to_its_own_question() -> None:
    """The value of a yield is the answer to that query, and the model sees one row at a time."""
    rows: list[int] = []

    def predict(X: Array) -> Array:
        rows.append(len(X))
        return X * 10.0

    def client() -> Conversation:
        vector = np.array([1.0])
        while True:
            vector = yield AskedQuery(vector)

    vectors, answers, _ = converse(client(), predict, 3)
    assert vectors.ravel().tolist() == [1.0, 10.0, 100.0]
    assert answers.ravel().tolist() == [10.0, 100.0, 1000.0]
    assert rows == [1, 1, 1]


@given(size=st.integers(1, 6), seed=st.integers(0, 2**32 - 1))
def test_draws_never_repeat_at_once(size: int, seed: int) -> None:
    """Two draws in a row differ, unless there is only one thing to draw."""
    order = draws(size, np.random.default_rng(seed))
    drawn = [next(order) for _ in range(30)]
    assert set(drawn) <= set(range(size))
    assert size == 1 or all(a != b for a, b in pairwise(drawn))


def test_nothing_to_draw_from_is_an_error() -> None:
    """An empty pool is refused in words."""
    with pytest.raises(ValueError, match="at least one picture"):
        next(draws(0, np.random.default_rng(0)))


def test_two_labels_returns_pictures_that_the_model_tells_apart() -> None:
    """The two pictures have different answers, and all queries on the way are natural."""
    pool = np.array([[0.0], [0.1], [0.9]])
    found: list[tuple[Array, int, Array]] = []

    def client() -> Generator[AskedQuery, Answer, None]:
        found.append((yield from two_labels(pool, np.random.default_rng(3))))

    _, _, synthetic = converse(client(), lambda X: np.hstack([1.0 - X, X]), 100)
    first, label, other = found[0]
    assert label == int(first[0] > 0.5) != int(other[0] > 0.5)
    assert not synthetic.any()


def test_ask_marks_its_query_as_made() -> None:
    """What an attacker made is flagged for the evaluation, and the label is the largest answer."""
    labels: list[int] = []

    def client() -> Conversation:
        labels.append((yield from ask(np.array([0.2, 0.8]))))

    _, _, synthetic = converse(client(), _identity, 5)
    assert synthetic.tolist() == [True]
    assert labels == [1]
