"""The tilt: the same key means the same mark, everywhere and for good."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import ConfigError
from detector.perturb.committed import Committed, read_committed
from detector.perturb.keys import MarkName, dawn_label, key_digest, master_key, name_of, subject_key
from detector.perturb.tilt import Frame, draw, pulls, tilted

GOLDEN_DIRECTION = [-0.26359968729098693, 1.2670050211125, 0.19965193877253448]
GOLDEN_PHASES = [3.4029968864910596, 3.1798870688201832, 0.15072915225706127, 2.0403520531727954]
GOLDEN_KEY = "ae9a894facf0edb8"
GOLDEN_ID = "9c9bcb2db03f0859"


def test_a_key_draws_the_same_for_good() -> None:
    """Marks are tested years later: these numbers must not change with a version of anything."""
    tilts = draw([b"key", b"other"], 3, 2)
    assert tilts.directions.shape == (2, 4, 3)
    assert tilts.directions[0, 0].tolist() == pytest.approx(GOLDEN_DIRECTION, abs=1e-12)
    assert tilts.phases[0].tolist() == pytest.approx(GOLDEN_PHASES, abs=1e-12)
    assert subject_key(b"m" * 16, "fraud", "client:acme", "1").hex()[:16] == GOLDEN_KEY
    assert name_of(b"k" * 32, "client:acme", "1") == MarkName(GOLDEN_ID, "client:acme", "1")


def test_the_tilt_has_variance_of_about_one_and_is_smooth() -> None:
    rng = np.random.default_rng(0)
    frame = Frame(np.zeros(8), np.ones(8), 4.0)
    X = rng.normal(size=(400, 8))
    pull = pulls(draw([bytes([at]) for at in range(200)], 8, 5), frame.placed(X))
    assert 1.0 < pull.var() < 1.3
    near = pulls(draw([b"k"], 8, 5), frame.placed(X + 1e-4 * rng.normal(size=X.shape)))
    assert np.abs(near - pulls(draw([b"k"], 8, 5), frame.placed(X))).max() < 1e-2


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(0, 4), st.integers(0, 2**32 - 1))
def test_a_tilted_answer_is_a_distribution(values: list[float], strength: float, seed: int) -> None:
    """Whatever the answer; a strength of 0 leaves it."""
    total = sum(values)
    row = np.array([[value / total for value in values] if total > 1e-9 else [1.0 / len(values)] * len(values)])
    pull = np.random.default_rng(seed).normal(size=row.shape)
    told = tilted(row, pull, strength)
    assert abs(told.sum() - 1.0) < 1e-9
    assert (told >= 0).all()
    assert np.allclose(tilted(row, pull, 0.0), row, atol=1e-4)


def test_missing_values_lie_at_the_centre() -> None:
    frame = Frame(np.array([2.0, 3.0]), np.array([1.0, 2.0]), 1.5)
    assert frame.placed(np.array([[np.nan, 3.0]])).tolist() == [[0.0, 0.0]]


@given(st.integers(2, 20), st.binary(min_size=4, max_size=4), st.integers(0, 500))
def test_wrong_labels_are_wrong_and_rare(classes: int, key: bytes, number: int) -> None:
    vector = np.array([number, 1.5], np.float32)
    assert 0 <= dawn_label(key, vector, 1, classes, 1.0) < classes
    assert dawn_label(key, vector, 1, classes, 1.0) != 1
    assert dawn_label(key, vector, 1, classes, 0.0) == 1


def test_the_share_of_wrong_labels() -> None:
    rng = np.random.default_rng(0)
    wrong = sum(dawn_label(b"k", row, 0, 10, 0.02) != 0 for row in rng.normal(size=(5000, 3)).astype(np.float32))
    assert 60 < wrong < 140


def test_a_commitment_reads_as_it_was_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    made = Committed("m", "1", key_digest(b"k" * 16), "now", 3, 0.5, 0.0, Frame(np.zeros(2), np.ones(2), 1.0), 0.01, 500)
    path = tmp_path_factory.mktemp("c") / "ownership.json"
    path.write_bytes(made.to_bytes())
    back = read_committed(path)
    assert back.to_bytes() == made.to_bytes()
    assert (back.dimension, back.classes, len(back.digest)) == (2, 3, 64)
    back.check_key(b"k" * 16, "here")
    with pytest.raises(ConfigError, match="another master key"):
        back.check_key(b"l" * 16, "here")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"format": 2', b'"format": 1'),
        (b'"gauge_sha256": null', b'"gauge_sha256": 7'),
        (b'"classes": 3', b'"classes": 1'),
        (b'"strength": 0.5', b'"strength": NaN'),
        (b'"distance": 1.0', b'"distance": 0.0'),
        (b'"epoch"', b'"other"'),
        (b'"model": "m"', b'"model": 7'),
        (b"{", b"["),
    ],
)
def test_what_is_no_commitment(old: bytes, new: bytes) -> None:
    made = Committed("m", "1", "", "now", 3, 0.5, 0.0, Frame(np.zeros(2), np.ones(2), 1.0), 0.01, 500)
    raw = made.to_bytes()
    assert old in raw
    with pytest.raises(ConfigError, match=r"here: is no commitment"):
        Committed.of(raw.replace(old, new), "here")


def test_a_short_key_is_refused() -> None:
    for secret in (None, "short"):
        with pytest.raises(ConfigError, match="master key"):
            master_key(secret)
