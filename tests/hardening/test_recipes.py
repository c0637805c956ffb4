"""Models that were hardened in training: each does what its name says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ConfigError
from detector.hardening.recipes import RECIPES, open_recipe
from detector.hardening.training import epsilon_of


def confidence(name: str) -> float:
    opened, _ = open_recipe(name)
    assert opened.target is not None
    return float(opened.predict(opened.target.test).max(axis=1).mean())


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_learns_the_task(recipe: str) -> None:
    """And answers with probabilities, whatever it was put through."""
    opened, _ = open_recipe(f"recipe:{recipe}:wine")
    target = opened.target
    assert target is not None
    right = float((target.predict(target.benign.vectors).argmax(axis=1) == target.benign.labels).mean())
    assert right > 0.7
    np.testing.assert_allclose(opened.predict(target.test).sum(axis=1), 1.0, atol=1e-3)


def test_recipes_share_their_examples_and_differ_in_their_answers() -> None:
    """Smoothing lowers confidence; noise answers differently when asked again."""
    plain, _ = open_recipe("recipe:plain:wine")
    noisy, _ = open_recipe("recipe:noise:wine")
    assert plain.target is not None
    assert noisy.target is not None
    assert np.array_equal(plain.target.test, noisy.target.test)
    assert np.array_equal(plain.predict(plain.target.test), plain.predict(plain.target.test))
    assert not np.array_equal(noisy.predict(plain.target.test), noisy.predict(plain.target.test))
    assert confidence("recipe:smoothing:wine") < confidence("recipe:plain:wine") - 0.05


@pytest.mark.parametrize("name", ["recipe:fog:digits", "recipe:plain:adult", "recipe:plain", "recipe:", "recipe::digits"])
def test_what_is_no_recipe_is_refused(name: str) -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match="recipes are recipe:NAME:DATA"):
        open_recipe(name)


def test_parameters_of_recipes() -> None:
    """More noise, less epsilon; others are refused."""
    _, weak = open_recipe("recipe:dp:iris")
    _, strong = open_recipe("recipe:dp(noise=4.0):iris")
    assert float(strong.split()[1]) < float(weak.split()[1])
    with pytest.raises(ConfigError, match="no parameter volume"):
        open_recipe("recipe:dp(volume=1):iris")


@given(st.floats(0.5, 8.0), st.floats(0.001, 1.0), st.integers(1, 5000))
def test_epsilon_grows_with_steps_and_shrinks_with_noise(noise: float, share: float, steps: int) -> None:
    """It is finite and positive; sampling fewer examples never costs privacy."""
    epsilon = epsilon_of(noise, share, steps, 1e-5)
    assert 0.0 < epsilon < np.inf
    assert epsilon_of(noise, share, 2 * steps, 1e-5) >= epsilon
    assert epsilon_of(2.0 * noise, share, steps, 1e-5) <= epsilon
    assert epsilon <= epsilon_of(noise, 1.0, steps, 1e-5) + 1e-6
