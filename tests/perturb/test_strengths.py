"""Each key has the strength that changes the committed share of labels, by a gauge that cannot be exchanged."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import OwnershipSection
from detector.errors import ConfigError
from detector.ownership.commit import Sample, chosen, gauge_for
from detector.perturb.committed import Committed, gauge_path, read_committed
from detector.perturb.keys import key_digest, name_of, subject_key
from detector.perturb.marks import Marks
from detector.perturb.settings import marks_of
from detector.perturb.strengths import Gauge
from detector.perturb.tilt import draw, pulls, tilted

MASTER = b"sixteen bytes or more"
KEYS = [bytes([at]) for at in range(30)]


def sample(seed: int = 0, count: int = 400, dimension: int = 5, classes: int = 3, *, sure: float = 4.0) -> Sample:
    """Inputs, and a model that is uncertain about some of them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, dimension)).astype(np.float32)
    logits = sure * X.astype(np.float64) @ rng.normal(size=(dimension, classes))
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Sample("m", X, exponent / exponent.sum(axis=1, keepdims=True))


def made(of: Sample, share: float = 0.05) -> Committed:
    strengths, choice = chosen(of, None, share)
    return Committed(
        "m",
        "1",
        key_digest(MASTER),
        "2026-05-04T10:00:00.000Z",
        of.said.shape[1],
        strengths.most,
        0.0,
        strengths.frame,
        choice.flips,
        len(of.X),
        gauge=strengths.gauge,
    )


def written(folder: Path, committed: Committed) -> Path:
    """Write a commitment and its gauge."""
    path = folder / "ownership.json"
    assert committed.gauge is not None
    raw = committed.gauge.to_bytes()
    gauge_path(path).write_bytes(raw)
    path.write_bytes(replace(committed, gauge_sha256=hashlib.sha256(raw).hexdigest()).to_bytes())
    return path


@given(st.integers(0, 1000), st.integers(2, 6), st.sampled_from([0.01, 0.02, 0.1]), st.sampled_from([0.5, 4.0, 30.0]))
def test_no_key_changes_more_than_was_agreed(seed: int, classes: int, share: float, sure: float) -> None:
    """Nor much less, unless it is as strong as a tilt may be, or answers are as likely as each other."""
    log = sample(seed, 300, 5, classes, sure=sure)
    strengths, choice = chosen(log, None, share)
    assert strengths.gauge is not None
    tilts = draw(KEYS, 5, classes)
    found = strengths.of(tilts)
    assert (found <= strengths.most).all()
    logged = pulls(tilts, strengths.frame.placed(log.X))
    for pull, strength in zip(logged, found, strict=True):
        changed = int((tilted(log.said, pull, strength).argmax(axis=1) != log.said.argmax(axis=1)).sum())
        assert changed <= int(share * 300)
        assert strength == strengths.most or changed >= int(share * 300) - 1
    assert choice.weakest is not None
    assert choice.weakest <= choice.strength <= strengths.most


def test_a_strength_is_that_of_its_key_alone() -> None:
    """Whoever else is tested with it, and after it was written and read."""
    log = sample()
    strengths, _ = chosen(log, None, 0.02)
    assert strengths.gauge is not None
    tilts = draw(KEYS, 5, 3)
    alone = [strengths.of(draw([key], 5, 3))[0] for key in KEYS]
    assert np.allclose(strengths.of(tilts), alone)
    again = replace(strengths, gauge=Gauge.of(strengths.gauge.to_bytes(), 5, 3))
    assert np.array_equal(again.of(tilts), strengths.of(tilts))
    assert len(set(alone)) > 20
    assert len(strengths.of(draw([], 5, 3))) == 0


def test_large_inputs_have_no_gauge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then all keys have one strength, as where the settings say which."""
    monkeypatch.setattr("detector.ownership.commit.GAUGE_BYTES", 4 * 8 * 50)
    log = sample()
    assert gauge_for(log) is None
    strengths, choice = chosen(log, None, 0.02)
    assert strengths.gauge is None
    assert set(strengths.of(draw(KEYS, 5, 3))) == {choice.strength}
    assert set(chosen(log, 0.7)[0].of(draw(KEYS, 5, 3))) == {0.7}


def test_answers_are_marked_with_the_strength_of_their_key(tmp_path: Path) -> None:
    committed = read_committed(written(tmp_path, made(sample())))
    key = subject_key(MASTER, "m", "client:acme", "1")
    tilts = draw([key], 5, 3)
    strength = committed.strengths.of(tilts)[0]
    assert 0.0 < strength < committed.strength
    vector = np.full(5, 0.1, np.float32)
    told = Marks(committed, MASTER, "all").marked(name_of(key, "client:acme", "1"), vector, [0.333333, 0.333333, 0.333334])
    pull = pulls(tilts, committed.frame.placed(vector[None]))[0]
    assert np.allclose(told, tilted(np.array([[1, 1, 1]]) / 3, pull, strength)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda raw: raw + b" ", "is not the gauge that"),
        (lambda _: b"PK", "is not the gauge that"),
        (None, "cannot read the gauge"),
    ],
)
def test_another_gauge_is_refused(tmp_path: Path, spoil: object, said: str) -> None:
    path = written(tmp_path, made(sample()))
    gauge = gauge_path(path)
    if callable(spoil):
        gauge.write_bytes(spoil(gauge.read_bytes()))
    else:
        gauge.unlink()
    with pytest.raises(ConfigError, match=said):
        read_committed(path)
    bare = read_committed(path, gauged=False)
    with pytest.raises(ConfigError, match="which was not read"):
        Marks(bare, MASTER, "all")


@pytest.mark.parametrize(
    "gauge",
    [
        Gauge(np.zeros((3, 4), np.float32), np.full((3, 3), 0.3, np.float32), 1),
        Gauge(np.zeros((3, 5), np.float32), np.full((3, 2), 0.5, np.float32), 1),
        Gauge(np.zeros((3, 5), np.float32), np.full((3, 3), np.nan, np.float32), 1),
        Gauge(np.zeros((3, 5), np.float32), np.full((3, 3), 0.3, np.float32), 3),
        Gauge(np.zeros((0, 5), np.float32), np.zeros((0, 3), np.float32), 0),
        Gauge(np.zeros((3, 5)), np.full((3, 3), 0.3, np.float32), 1),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_gauge(gauge: Gauge) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Gauge.of(gauge.to_bytes(), 5, 3)


def test_one_strength_for_all_is_not_what_was_committed_to(tmp_path: Path) -> None:
    path = written(tmp_path, made(sample()))
    section = OwnershipSection.model_validate({"mark": "all", "key": MASTER.decode(), "commitment": str(path), "strength": 2.0})
    with pytest.raises(ConfigError, match="committed to one for each key"):
        marks_of(section)
    assert marks_of(section.model_copy(update={"strength": None})) is not None
