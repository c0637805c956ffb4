"""Defences by name, ours and the toolbox's, and the one that does nothing."""

from dataclasses import replace

import numpy as np
import pytest

from detector.errors import ConfigError
from detector.hardening.defences import defence_of, memoised, sound
from detector.hardening.honest import honest
from detector.hardening.subject import Subject, subject_of
from detector.redteam.conversation import Array
from detector.redteam.opened import open_model


@pytest.fixture(scope="module")
def digits() -> Subject:
    return subject_of("digits", open_model("digits"))


def told(subject: Subject, name: str, X: Array) -> Array:
    return defence_of(name).over(subject.target.predict, subject.target)(X)


@pytest.mark.parametrize("name", ["top1", "label", "rounding(decimals=1)", "top1(decimals=2)"])
def test_our_defences_keep_the_label(digits: Subject, name: str) -> None:
    """And tell less."""
    X = digits.target.test[:50]
    plain, less = digits.target.predict(X), told(digits, name, X)
    assert less.shape == plain.shape
    assert not np.array_equal(less, plain)
    assert len(np.unique(less)) < len(np.unique(plain))
    if not name.startswith("rounding"):
        assert np.array_equal(less.argmax(axis=1), plain.argmax(axis=1))


def test_misleading_lies_about_half(digits: Subject) -> None:
    """As `detector.perturb` does."""
    found = honest(digits, defence_of("mislead"))
    assert 0.3 < found.flips < 0.7
    assert found.accuracy_lost is not None
    assert found.accuracy_lost > 0.3


def test_a_defence_that_changes_nothing_is_told(digits: Subject) -> None:
    """The toolbox's augmentation works during training only, unless it is told otherwise."""
    pytest.importorskip("art", reason="install the extra `art`")
    nothing = honest(digits, defence_of("art:GaussianAugmentation(sigma=0.1,augmentation=false)"))
    assert nothing.changed == 0.0
    assert "changed 0 of 350 answers" in nothing.warnings[0]
    assert "apply_predict" in nothing.warnings[0]
    something = honest(digits, defence_of("art:GaussianAugmentation(sigma=1.0,augmentation=false,apply_predict=true)"))
    assert something.changed > 0.9
    assert something.agrees < 1.0
    assert "another answer when asked again" in something.warnings[0]
    assert honest(digits, defence_of("none")).warnings == ()


@pytest.mark.parametrize(
    ("name", "most_flips"),
    [
        ("art:ReverseSigmoid", 0.0),
        ("art:Rounded", 0.01),
        ("art:HighConfidence(cutoff=0.5)", 0.1),
        ("art:GaussianNoise", 0.3),
        ("art:FeatureSqueezing(bit_depth=3)", 0.3),
        ("art:SpatialSmoothing", 0.6),
    ],
)
def test_defences_of_the_toolbox(digits: Subject, name: str, most_flips: float) -> None:
    """Each changes answers, and none makes a row that is no distribution."""
    pytest.importorskip("art", reason="install the extra `art`")
    X = digits.target.test[:100]
    answers = told(digits, name, X)
    assert np.isfinite(answers).all()
    assert (answers >= 0.0).all()
    assert (answers.sum(axis=1) > 0.0).all()
    assert not np.allclose(answers, digits.target.predict(X), atol=1e-6)
    assert honest(digits, defence_of(name)).flips <= most_flips


def test_answers_that_depend_on_the_batch_are_told(digits: Subject) -> None:
    """The toolbox's ClassLabels marks the labels of the whole batch in each row."""
    pytest.importorskip("art", reason="install the extra `art`")
    found = honest(digits, defence_of("art:ClassLabels"))
    if found.flips:  # as long as the toolbox does it
        assert any("another answer alone than in a batch" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fog", "there is no defence 'fog'"),
        ("top1(places=1)", "no parameter 'places'"),
        ("rounding(decimals=x)", "parameters are NAME=NUMBER"),
        ("rounding(decimals=10)", "decimals are 0 to 9"),
        ("art:Fog", "of the toolbox there are"),
        ("top1(", "is no name"),
    ],
)
def test_what_is_no_defence_is_refused(name: str, said: str) -> None:
    """With what there is."""
    with pytest.raises(ConfigError, match=said):
        defence_of(name)


def test_parameters_and_data_that_the_toolbox_refuses(digits: Subject) -> None:
    """Are told when the defence meets the model."""
    pytest.importorskip("art", reason="install the extra `art`")
    with pytest.raises(ConfigError, match="art:Rounded"):
        told(digits, "art:Rounded(places=3)", digits.target.test[:1])
    iris = subject_of("tree:iris", open_model("tree:iris"))
    with pytest.raises(ConfigError, match="smooths pictures"):
        told(iris, "art:SpatialSmoothing", iris.target.test[:1])


def test_a_memory_and_rows_that_are_left_empty() -> None:
    """The same input has the same answer; an empty row says nothing, which is an even share."""
    rng = np.random.default_rng(0)
    answer = memoised(lambda X: rng.random((len(X), 2)))
    X = np.array([[1.0], [2.0], [1.0]])
    first = answer(X)
    assert np.array_equal(first, answer(X))
    assert np.array_equal(first[0], first[2])
    assert sound(np.array([[0.0, 0.0], [-1.0, 0.5], [np.nan, 1.0]])).tolist() == [[0.5, 0.5], [0.0, 0.5], [0.0, 1.0]]


def test_a_model_that_nearly_always_says_the_same_is_told(digits: Subject) -> None:
    """Fidelity of its copies means nothing; that of the digits does."""
    always = replace(digits, target=replace(digits.target, predict=lambda X: np.tile(np.eye(10)[3], (len(X), 1))))
    (told,) = honest(always, defence_of("none")).warnings
    assert "gives 100% of inputs one and the same label" in told
    assert honest(digits, defence_of("none")).warnings == ()
