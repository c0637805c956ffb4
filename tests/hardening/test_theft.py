"""One theft: what is asked, what was told, and what copies are worth."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ConfigError, ModelError
from detector.hardening.defences import defence_of
from detector.hardening.subject import Subject, subject_of
from detector.hardening.theft import copies_of, moments_of, steal, usual_attacks
from detector.redteam.conversation import Array, Labels
from detector.redteam.opened import open_model


@pytest.fixture(scope="module")
def wine() -> Subject:
    return subject_of("mlp:wine", open_model("mlp:wine"))


@pytest.fixture
def truth(wine: Subject) -> Labels:
    """Return the model's own labels of the fresh inputs."""
    labels: Labels = wine.target.predict(wine.target.test).argmax(axis=1)
    return labels


def nothing() -> None:
    """Hear of a query."""


def test_who_holds_examples_asks_about_each_once(wine: Subject, truth: Labels) -> None:
    """Then he has nothing left to ask."""
    loot = steal(wine, wine.target.predict, "random", 500, 1.0, 0, nothing)
    assert loot.ended
    assert len(loot.log) == len(wine.target.attacker.vectors)
    assert len(np.unique(loot.vectors, axis=0)) == len(np.unique(loot.vectors[::-1], axis=0)) <= len(loot.log)
    copies = copies_of(wine, loot, moments_of([20, 500], len(loot.log)), 0, truth)
    assert list(copies) == [20, 25, len(loot.log)]
    last = copies[len(loot.log)]
    assert last.fidelity > 0.8
    assert last.accuracy is not None
    assert copies_of(wine, loot, [0], 0, truth)[0].fidelity == 0.0


def test_the_copy_is_judged_by_the_model_without_the_defence(wine: Subject, truth: Labels) -> None:
    """Who is lied to copies the lie."""
    honest = steal(wine, wine.target.predict, "random", 500, 1.0, 0, nothing)
    lied_to = steal(wine, lambda X: np.roll(wine.target.predict(X), 1, axis=1), "random", 500, 1.0, 0, nothing)
    at = len(honest.log)
    assert copies_of(wine, honest, [at], 0, truth)[at].fidelity > 0.8
    assert copies_of(wine, lied_to, [at], 0, truth)[at].fidelity < 0.3


def test_the_log_holds_what_was_told(wine: Subject) -> None:
    """A label alone."""
    predict = defence_of("label").over(wine.target.predict, wine.target)
    loot = steal(wine, predict, "line_search", 10, 1.0, 0, nothing)
    assert not loot.ended
    assert all(b'"probabilities":[' in line and (b"1.0" in line) for line in loot.log)
    assert set(np.unique(loot.answers).tolist()) == {0.0, 1.0}


def test_a_model_that_fails_is_told_with_the_query(wine: Subject) -> None:
    """Which attack, and which of its queries."""
    asked = 0

    def failing(X: Array) -> Array:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise ModelError("out of order", row=0)
        return wine.target.predict(X)

    with pytest.raises(ModelError, match="line_search, query 4: out of order"):
        steal(wine, failing, "line_search", 10, 1.0, 0, nothing)
    with pytest.raises(ConfigError, match="takes image"):
        steal(wine, wine.target.predict, "knockoff_random", 10, 1.0, 0, nothing)


def test_usual_attacks_go_with_the_data(wine: Subject) -> None:
    """Pictures of Knockoff are square."""
    assert usual_attacks(wine.target) == ["random", "uniform", "jbda", "line_search"]
    pictures = replace(wine.target, columns=None)
    assert usual_attacks(pictures) == ["random", "uniform", "jbda", "line_search"]
    square = replace(pictures, test=pictures.test[:, :9])
    assert "knockoff_random" in usual_attacks(square)


@given(st.lists(st.integers(1, 5000), min_size=1), st.integers(1, 5000))
def test_moments_are_sorted_and_never_beyond_what_was_asked(budgets: list[int], asked: int) -> None:
    """Every budget that was reached is among them."""
    moments = moments_of(budgets, asked)
    assert moments == sorted(set(moments))
    assert max(moments) <= asked
    assert all(budget in moments for budget in budgets if budget <= asked)
