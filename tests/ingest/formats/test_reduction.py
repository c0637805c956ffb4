"""Texts in the space that a baseline learned: what is far, what is near, and that it stays the same."""

import numpy as np
import pytest

from detector.baseline.texts import fit_reduction
from detector.ingest.formats.reduction import BUCKETS, FOLDED, MOST_DIRECTIONS, Grams, TextReduction
from detector.redteam.texts import sentences
from tests.serving.prompts import other_domains

RULES = "You are the assistant of a shop. Answer politely, in two sentences, and never promise a refund. " * 20


def reduction(prefix: str = "") -> TextReduction:
    texts, _ = sentences(600, np.random.default_rng(0))
    found = fit_reduction([prefix + text for text in texts])
    assert found is not None
    return found


def vectors(known: TextReduction, texts: list[str]) -> np.ndarray:
    grams = Grams()
    return np.array([known.vector(grams.counts(text)) for text in texts])


def test_the_same_texts_give_the_same_space_and_the_same_numbers() -> None:
    """Whatever was met before, and however often."""
    first, again = reduction(), reduction()
    assert first == again
    grams = Grams()
    one = first.vector(grams.counts("I want to pay the bill"))
    for text in ("something else", "", "pay " * 3000):
        first.vector(grams.counts(text))
    assert again.vector(grams.counts("I want to pay the bill")) == one
    assert len(one) == first.dimension <= MOST_DIRECTIONS + FOLDED


def test_what_all_prompts_share_says_nothing() -> None:
    """Behind the same long instructions two matters are as far from each other as the words in which they differ make them."""
    texts, _ = sentences(40, np.random.default_rng(1))
    plain, ruled = vectors(reduction(), texts), vectors(reduction(RULES), [RULES + text for text in texts])
    assert np.linalg.norm(ruled.mean(axis=0)) < 0.3 * np.linalg.norm(ruled, axis=1).mean()
    apart = np.triu_indices(len(texts), 1)
    distances = [np.linalg.norm(rows[:, None] - rows[None], axis=2)[apart] for rows in (plain, ruled)]
    assert np.corrcoef(*distances)[0, 1] > 0.5


def test_texts_of_another_kind_stay_apart() -> None:
    """They lie outside of the directions, where the sketch holds what they differ in."""
    texts, _ = sentences(100, np.random.default_rng(2))
    known = reduction()
    usual = vectors(known, texts)
    foreign = vectors(known, [text for _, text in zip(range(100), other_domains(np.random.default_rng(3)), strict=False)])
    outside = slice(known.dimension - FOLDED, None)
    usual_outside, foreign_outside = (np.linalg.norm(rows[:, outside], axis=1) for rows in (usual, foreign))
    assert np.median(foreign_outside) > 1.5 * np.median(usual_outside)
    assert np.linalg.norm(foreign - foreign.mean(axis=0), axis=1).min() > 0.0
    assert len(np.unique(foreign, axis=0)) > 90


def test_few_texts_make_no_space() -> None:
    assert fit_reduction(["one", "two"] * 100) is None


def test_form_letters_need_few_directions() -> None:
    found = fit_reduction([f"Dear {name}, your order has been sent." for name in ("A", "B", "C", "D") for _ in range(10)] * 2)
    assert found is None
    names = [f"{first}{second}" for first in "abcdefgh" for second in "xyz"]
    found = fit_reduction([f"{greeting} {name}" for name in names for greeting in ("Dear", "Hello")])
    assert found is not None
    assert found.dimension < MOST_DIRECTIONS + FOLDED


@pytest.mark.parametrize("damage", ["shape", "nan", "many", "slanted", "mean", "scales"])
def test_what_is_no_space_is_refused(damage: str) -> None:
    arrays = dict(reduction().to_arrays())
    directions = arrays["directions"].copy()
    if damage == "nan":
        directions[0, 0] = np.nan
    if damage == "slanted":
        directions[0] = directions[1]
    if damage == "many":
        directions = np.eye(MOST_DIRECTIONS + 1, BUCKETS, dtype=np.float32)
    arrays["directions"] = directions[:, :-1] if damage == "shape" else directions
    if damage == "mean":
        arrays["mean"] = arrays["mean"][1:]
    if damage == "scales":
        arrays["scales"] = -arrays["scales"]
    with pytest.raises(ValueError, match="not as they were learned"):
        TextReduction.from_arrays(arrays)
