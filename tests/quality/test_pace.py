"""Copies of models that are known in closed form."""

import numpy as np
import pytest

from detector.redteam.conversation import Array
from detector.redteam.play import Player
from detector.redteam.targets import Target
from detector.redteam.victim import Pool
from tests.quality import pace
from tests.quality.pace import most_at


def _asked(X: Array) -> Array:
    return np.stack([X[:, 0] < 0.5, X[:, 0] >= 0.5], axis=1).astype(np.float64)


@pytest.fixture
def target() -> Target:
    """A model that looks at one number of two."""
    X = np.random.default_rng(1).random((300, 2))
    pool = Pool(X, _asked(X).argmax(axis=1))
    return Target("m", _asked, pool, pool, X, (0.0, 1.0), 2, None)


def _player(X: Array, answers: Array | None = None) -> Player:
    player = Player.__new__(Player)
    player.vectors = list(X)
    player.answers = list(_asked(X) if answers is None else answers)
    return player


def test_most_is_learned_when_the_lead_passes_the_share(monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
    """Between two checkpoints on a straight line, and nothing is trained beyond."""
    labels = _asked(target.test).argmax(axis=1)
    guess = np.bincount(labels).max() / len(labels)
    tried = []

    def fidelity(moments: list[int], *_: object) -> dict[int, float]:
        (at,) = moments
        tried.append(at)
        return {at: guess + (1.0 - guess) * min(at / 200.0, 1.0)}

    monkeypatch.setattr(pace, "best_fidelity_at", fidelity)
    assert most_at(_player(np.zeros((400, 2))), target) == pytest.approx(160.0, abs=10.0)
    assert tried[0] == 400
    assert max(tried[1:]) == 200


def test_answers_that_teach_bring_it_on(target: Target) -> None:
    """Queries all over teach at once; who asks one place first learns nothing before he leaves it."""
    X = np.random.default_rng(2).random((200, 2))
    late = np.vstack([np.full((100, 2), 0.2), X[:100]])
    early, later = most_at(_player(X), target), most_at(_player(late), target)
    assert early is not None
    assert later is not None
    assert early < 60.0
    assert later > 100.0


def test_who_stole_nothing_has_no_such_moment(target: Target) -> None:
    """A copy that says one label only is a guess."""
    assert most_at(_player(np.full((50, 2), 0.2)), target) is None
