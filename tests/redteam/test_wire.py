"""What queries and answers become on their way."""

import numpy as np
import pytest

from detector.errors import ConfigError
from detector.redteam.play import turns
from detector.redteam.sessions import Disguise, thief
from detector.redteam.targets import Target, named
from detector.redteam.wire import DIRECT, usual_inputs, wire_for


@pytest.fixture(scope="module")
def digits() -> Target:
    return named("digits")


@pytest.fixture(scope="module")
def loans() -> Target:
    return named("loans")


def test_nothing_changes_by_default(digits: Target) -> None:
    """Whoever names no wire asks as before."""
    vector = np.random.default_rng(1).uniform(0.0, 16.0, 64)
    assert digits.wire is DIRECT
    assert np.array_equal(DIRECT.through(vector), vector)


@pytest.mark.parametrize(
    ("name", "levels"), [("uint8", 256), ("jpeg", 256), ("integers", 17), ("decimals-1", 161), ("float16", 2**15), ("grid", 17)]
)
def test_a_picture_arrives_in_few_levels(digits: Target, name: str, levels: int) -> None:
    """Everything that is sent lies on the wire's levels, in the value range, and near what was asked."""
    asked = np.random.default_rng(2).uniform(0.0, 16.0, (50, 64))
    arrived = wire_for(digits, name).send(asked)
    assert arrived.shape == asked.shape
    assert len(np.unique(arrived)) <= levels
    assert 0.0 <= arrived.min() <= arrived.max() <= 16.0
    if name == "jpeg":
        smooth = np.tile(np.linspace(2.0, 14.0, 8), (1, 8))
        assert np.abs(wire_for(digits, name).send(smooth) - smooth).max() < 0.5
    else:
        assert np.abs(arrived - asked).max() <= 0.51
        assert np.allclose(wire_for(digits, name).send(arrived), arrived)


def test_a_record_arrives_on_the_grids_of_its_columns(loans: Target) -> None:
    """What natural records have, whole numbers and codes, is sent as it is; half a year is not."""
    wire = wire_for(loans)
    assert usual_inputs(loans) == wire.inputs == "grid"
    assert np.allclose(wire.send(loans.benign.vectors), loans.benign.vectors)
    assert loans.columns is not None
    moved = loans.benign.vectors[:20] + 0.3
    whole = list(loans.columns.integer)
    assert np.array_equal(wire.send(moved)[:, whole], np.rint(wire.send(moved)[:, whole]))


def test_vectors_of_length_one_stay_so() -> None:
    """A client that normalises does it last."""
    vectors = np.random.default_rng(3).standard_normal((10, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    text = Target("t", np.asarray, named("digits").attacker, named("digits").benign, vectors, (-1.0, 1.0), 2, unit=True)
    assert np.allclose(np.linalg.norm(wire_for(text, "decimals-1").send(vectors), axis=1), 1.0)


@pytest.mark.parametrize("name", ["uint7", "decimals-0", "decimals-x", "decimals-12"])
def test_an_unknown_wire_says_which_there_are(digits: Target, name: str) -> None:
    """As does one that does not go with the data."""
    with pytest.raises(ConfigError, match="decimals"):
        wire_for(digits, name)
    with pytest.raises(ConfigError, match="decimals"):
        wire_for(digits, "uint8", name)


def test_records_have_no_256_levels(loans: Target) -> None:
    with pytest.raises(ConfigError, match="tabular"):
        wire_for(loans, "uint8")


def test_answers_tell_less(digits: Target) -> None:
    """The label alone, its probability alone, or few decimals; each row keeps its label."""
    told = digits.predict(digits.test[:30])
    for name, different in (("label", 2), ("top-1", 60), ("decimals-2", 101)):
        heard = wire_for(digits, "float64", name).reply(told)
        assert np.array_equal(heard.argmax(axis=1), told.argmax(axis=1))
        assert len(np.unique(heard)) <= different
    assert np.allclose(wire_for(digits, None, "top-1").reply(told).max(axis=1), told.max(axis=1))


def test_model_log_and_thief_have_what_arrived(digits: Target) -> None:
    """A thief trains its copy on what it sent, and the server logs what it read."""
    target = digits.over()
    player = thief("line_search", 0, target, Disguise(), 12, 1.0, 1)
    asked = [turn.query.vector for turn in turns([player], target.predict, target.wire)]
    levels = np.stack(asked) * 255.0 / 16.0
    assert np.allclose(levels, np.rint(levels))
    assert np.array_equal(np.stack(player.vectors), np.stack(asked))
    assert np.array_equal(np.stack(player.answers), target.predict(np.stack(asked)))
