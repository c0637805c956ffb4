"""Natural inputs from pools and logs, and true labels."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from detector.config import Config
from detector.errors import ConfigError, ModelError, SourceError
from detector.hardening.examples import examples_of, labels_of
from detector.hardening.subject import subject_of
from detector.redteam.opened import open_model
from detector.testing import Events


def write_log(path: Path, models: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    lines = []
    for model, count in models.items():
        events = Events(model)
        lines += [events.line(f"c{i % 3}", np.round(rng.random(4), 2), int(i % 2)) for i in range(count)]
    lines.append(b'{"broken"')
    path.write_bytes(gzip.compress(b"\n".join(lines)))


def test_a_log_gives_distinct_inputs_as_they_were_asked(tmp_path: Path) -> None:
    """Two decimals stay two decimals."""
    log = tmp_path / "benign.jsonl.gz"
    write_log(log, {"cards": 60})
    found = examples_of(str(log), Config())
    assert (found.log, found.model) == (str(log), "cards")
    assert found.X.shape == (60, 4)
    assert np.array_equal(found.X, np.round(found.X, 2))


def test_logs_that_do_not_suit(tmp_path: Path) -> None:
    """Several models, none, and no log at all."""
    log = tmp_path / "benign.jsonl.gz"
    write_log(log, {"cards": 5, "loans": 5})
    with pytest.raises(ConfigError, match="--model-id: cards, loans"):
        examples_of(str(log), Config())
    assert len(examples_of(str(log), Config(), "loans").X) == 5
    with pytest.raises(ConfigError, match="no input of model 'x'"):
        examples_of(str(log), Config(), "x")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(ConfigError, match="holds no input"):
        examples_of(str(tmp_path / "empty.jsonl"), Config())
    with pytest.raises(SourceError, match=r"absent\.jsonl"):
        examples_of(str(tmp_path / "absent.jsonl"), Config())


def test_labels_go_with_the_examples(tmp_path: Path) -> None:
    """An array of the same file, or a file of numbers or names."""
    path = tmp_path / "pool.npz"
    np.savez(path, X=np.zeros((4, 2)), y=np.array([0, 1, 1, 0]), few=np.zeros(3))
    assert labels_of(str(path), "y", 4, ()).tolist() == [0, 1, 1, 0]
    (tmp_path / "y.txt").write_text("no\nyes\nyes\nno\n", encoding="utf-8")
    assert labels_of(str(path), str(tmp_path / "y.txt"), 4, ("no", "yes")).tolist() == [0, 1, 1, 0]
    with pytest.raises(ConfigError, match="label 0 is 'no'"):
        labels_of(str(path), str(tmp_path / "y.txt"), 4, ())
    with pytest.raises(ConfigError, match="for 4 examples"):
        labels_of(str(path), "few", 4, ())
    with pytest.raises(ConfigError, match="cannot read labels"):
        labels_of(str(path), "z", 4, ())


def test_examples_are_dealt_once() -> None:
    """No example is in two parts, and second models get the same."""
    opened = open_model("digits")
    given = examples_of("digits", Config())
    subject = subject_of("digits", opened, given)
    target = subject.target
    parts = [target.attacker.vectors, target.benign.vectors, target.test]
    assert sum(map(len, parts)) == len(given.X)
    assert not subject.truth
    second = subject.beside("again", open_model("digits:1"))
    assert np.array_equal(second.target.test, target.test)
    with pytest.raises(ConfigError, match="tells 3 classes"):
        subject.beside("tree:iris", open_model("tree:iris"))
    with pytest.raises(ConfigError, match="too few"):
        subject_of("digits", opened, given._replace(X=given.X[:39]))
    with pytest.raises(ModelError):
        subject_of("digits", opened, given._replace(X=given.X[:, :5]))
