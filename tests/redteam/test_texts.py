import numpy as np
import numpy.typing as npt
import pytest

from detector.redteam.conversation import Array, AskedQuery, Conversation, converse
from detector.redteam.registry import ATTACKS
from detector.redteam.sessions import Disguise, innocent, thief
from detector.redteam.texts import (
    DIMENSION,
    TOPICS,
    embedded,
    embedded_all,
    foreign_sentence,
    on_sphere,
    plan,
    sentences,
    worded,
)
from tests.quality.simulation import simulated

SERVED = simulated("text", "linear", 1)


def _asked(name: str, number: int, budget: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    player = thief(name, number, SERVED.thieves, Disguise(), budget, 6.0, 1)
    vectors, _, synthetic = converse(player.conversation, SERVED.thieves.predict, budget)
    return vectors, synthetic


def test_sentences_differ_and_cover_all_topics() -> None:
    """No sentence twice, each topic about as often, and the same seed writes the same."""
    texts, topics = sentences(600, np.random.default_rng(3))
    assert len(set(texts)) == len(topics) == 600
    assert np.bincount(topics).min() > 80
    assert len(np.bincount(topics)) == len(TOPICS)
    assert sentences(600, np.random.default_rng(3))[0] == texts


def test_other_words_are_nearer_than_another_matter() -> None:
    """Two wordings of one plan are nearer to each other than two plans are, on the whole."""
    rng = np.random.default_rng(0)
    plans = [plan(int(rng.integers(5)), rng) for _ in range(200)]
    first, second = (embedded_all([worded(meant, rng) for meant in plans]) for _ in range(2))
    same = (first * second).sum(axis=1)
    other = (first * np.roll(second, 1, axis=0)).sum(axis=1)
    assert np.median(same) > np.median(other) + 0.3


def test_every_text_has_a_vector_of_length_one() -> None:
    """Known words, foreign ones, none that was ever seen, and nothing at all."""
    rng = np.random.default_rng(1)
    for text in (foreign_sentence(rng), "i want to pay", "qzx", ""):
        assert embedded(text).shape == (DIMENSION,)
        assert np.linalg.norm(embedded(text)) == pytest.approx(1.0)


def test_what_leaves_the_sphere_is_brought_back() -> None:
    """Long vectors are scaled and keep what is known of them; the client hears every answer and is closed in the end."""
    heard: list[float] = []
    closed: list[bool] = []

    def client() -> Conversation:
        try:
            for size in (1.0, 5.0, 0.0):
                answer = yield AskedQuery(np.array([0.0, size]), synthetic=size > 1.0)
                heard.append(float(answer[0]))
        finally:
            closed.append(True)

    vectors, _, synthetic = converse(on_sphere(client()), lambda X: X.sum(axis=1, keepdims=True), 9)
    assert vectors.tolist() == [[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    assert synthetic.tolist() == [False, True, False]
    assert heard == [1.0, 1.0, 0.0]
    assert closed == [True]


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if "text" in attack.data])
def test_attacks_on_texts_keep_the_promises_of_the_registry(name: str) -> None:
    """As many queries as were asked for, on the sphere, the same for the same thief and others for another."""
    vectors, synthetic = _asked(name, 0, 60)
    assert vectors.shape == (60, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    assert np.array_equal(_asked(name, 0, 30)[0], vectors[:30])
    assert not np.array_equal(_asked(name, 1, 30)[0], vectors[:30])
    held = {row.tobytes() for row in SERVED.thieves.attacker.vectors}
    natural = [row.tobytes() in held for row, made in zip(vectors, synthetic, strict=True) if not made]
    assert not any(natural) if name == "knockoff_texts" else all(natural)


def test_cover_is_made_of_texts() -> None:
    """A thief who hides asks as innocents with texts do."""
    player = thief("uniform", 0, SERVED.thieves, Disguise(cover=0.5), 40, 6.0, 1)
    vectors, _, synthetic = converse(player.conversation, SERVED.thieves.predict, 40)
    held = {row.tobytes() for row in SERVED.thieves.benign.vectors}
    assert [row.tobytes() in held for row in vectors] == (~synthetic).tolist()
    assert 5 < synthetic.sum() < 35


def test_texts_are_no_pictures() -> None:
    """Attacks and habits of pictures are refused where texts are served."""
    with pytest.raises(Exception, match="zoo takes image data, not text"):
        thief("zoo", 0, SERVED.thieves, Disguise(), 10, 6.0, 1)
    with pytest.raises(Exception, match="video takes image data, not text"):
        innocent("video", 0, SERVED.evaluation, 10, 6.0, 1)
