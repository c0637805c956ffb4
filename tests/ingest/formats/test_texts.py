"""Texts as vectors."""

import numpy as np
import pytest

from detector.ingest.formats.texts import TEXT_DIMENSION, text_vector

WORDS = [
    "order",
    "refund",
    "invoice",
    "python",
    "error",
    "hotel",
    "flight",
    "visa",
    "flour",
    "sugar",
    "contract",
    "court",
    "dose",
]
FILLER = [
    "the",
    "a",
    "of",
    "for",
    "with",
    "about",
    "please",
    "short",
    "long",
    "explain",
    "write",
    "compare",
    "find",
    "draft",
    "old",
]


@pytest.mark.parametrize("text", ["", " ", "!?", "\ud800", "\x00", "字" * 50_000, "a " * 50_000])
def test_every_text_has_a_vector_of_length_one(text: str) -> None:
    """Also one without a word."""
    vector = text_vector(text)
    assert len(vector) == TEXT_DIMENSION
    assert np.linalg.norm(vector) == pytest.approx(1.0)


def test_changed_prompts_are_nearest_to_their_originals() -> None:
    """Among 400 prompts that share a long preamble, one with two words exchanged is nearest to what it was made of."""
    rng = np.random.default_rng(1)
    preamble = " ".join(rng.choice(WORDS + FILLER, 80))
    prompts = [list(rng.choice(WORDS + FILLER, int(rng.integers(10, 30)))) for _ in range(400)]
    changed = [list(words) for words in prompts[:100]]
    for words in changed:
        for at in rng.choice(len(words), 2, replace=False):
            words[at] = str(rng.choice(FILLER))
    known, new = (
        np.array([text_vector(f"{preamble} {' '.join(words)}") for words in several]) for several in (prompts, changed)
    )
    nearest = (new @ known.T).argmax(axis=1)
    assert (nearest == np.arange(100)).mean() > 0.95
