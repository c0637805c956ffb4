import importlib
import importlib.util
import inspect
import pkgutil
import re
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest

import detector.redteam
from detector.redteam.arrivals import ARRIVALS
from detector.redteam.conversation import Array, Conversation, Predict, converse
from detector.redteam.loans import Lender
from detector.redteam.network import one_hot
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.victim import Victim

Played = tuple[Array, Array, npt.NDArray[np.bool_]]

BORROWED = pytest.mark.skipif(
    importlib.util.find_spec("art") is None, reason="the adversarial-robustness-toolbox (extra: art) is not installed"
)
CLIENTS = [
    pytest.param(name, data, marks=[BORROWED] if attack.extra else [])
    for name, attack in ATTACKS.items()
    for data in attack.data
    if data != "text"
]
FOREIGN = {"knockoff_random", "knockoff_adaptive", "knockoff_textures", "knockoff_shapes", "copycat"}


def _play(name: str, data: str, victim: Victim, applied: Lender, seed: int, budget: int) -> Played:
    rng = np.random.default_rng(seed)
    if data == "image":
        pool = victim.attacker
        return converse(
            ATTACKS[name].begin(pool.vectors, pool.labels, rng, victim.value_range, victim.classes), victim.predict, budget
        )
    pool = applied.attacker
    client = ATTACKS[name].begin(pool.vectors, pool.labels, rng, (0.0, 1.0), applied.classes, applied.columns)
    return converse(client, applied.predict, budget)


@pytest.mark.parametrize(("name", "data"), CLIENTS)
def test_every_attack_keeps_the_promises_of_the_registry(name: str, data: str, victim: Victim, applied: Lender) -> None:
    """Valid queries up to the budget, determined by the seed, natural where they say so, and no hand laid on the pool."""
    pool = victim.attacker.vectors if data == "image" else applied.attacker.vectors
    before = pool.copy()
    vectors, answers, synthetic = _play(name, data, victim, applied, 5, 70)
    assert np.array_equal(pool, before)
    assert len(vectors) == len(answers) == len(synthetic) == 70
    assert vectors.shape[1] == pool.shape[1]
    assert np.isfinite(vectors).all()
    if data == "image":
        assert vectors.min() >= 0.0
        assert vectors.max() <= 16.0
    else:
        assert applied.columns.admits(vectors).all()
    again, _, made = _play(name, data, victim, applied, 5, 30)
    assert np.array_equal(vectors[:30], again)
    assert np.array_equal(synthetic[:30], made)
    assert not np.array_equal(again, _play(name, data, victim, applied, 6, 30)[0])
    found = {row.astype(np.float32).tobytes() for row in pool}
    known = np.array([row.astype(np.float32).tobytes() in found for row in vectors])
    if name in FOREIGN or name.endswith("_foreign"):
        assert not synthetic.any()
        assert not known.any()
    else:
        assert known[~synthetic].all()
        assert not known[synthetic].all() or not synthetic.any()


@pytest.mark.parametrize(("name", "data"), CLIENTS)
def test_no_attack_fails_where_only_labels_are_told(name: str, data: str, victim: Victim, applied: Lender) -> None:
    """Certainties for answers are played through, whether they suffice or not."""

    def sure(predict: Predict, classes: int) -> Predict:
        return lambda X: one_hot(predict(X).argmax(axis=1), classes)

    rng = np.random.default_rng(3)
    if data == "image":
        pool, label_of = victim.attacker, sure(victim.predict, 10)
        client = ATTACKS[name].begin(pool.vectors, pool.labels, rng, victim.value_range, 10)
    else:
        pool, label_of = applied.attacker, sure(applied.predict, 2)
        client = ATTACKS[name].begin(pool.vectors, pool.labels, rng, (0.0, 1.0), 2, applied.columns)
    vectors, _, _ = converse(client, label_of, 40)
    assert len(vectors) == 40
    assert np.isfinite(vectors).all()


@pytest.mark.parametrize("name", ["uniform", "jbda", "path_finding", "active_uncertainty"])
def test_nothing_is_asked_without_a_budget(name: str, victim: Victim, applied: Lender) -> None:
    """A budget of zero asks nothing, one of one asks once."""
    data = ATTACKS[name].data[0]
    assert [len(_play(name, data, victim, applied, 1, budget)[0]) for budget in (0, 1)] == [0, 1]


def test_an_attack_refuses_data_that_it_cannot_take(victim: Victim, applied: Lender) -> None:
    """A step in a code means nothing, and a picture has no leaves: both are said before the first query."""
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="jbda takes image or text data, not tabular"):
        ATTACKS["jbda"].begin(applied.attacker.vectors, applied.attacker.labels, rng, (0.0, 1.0), 2, applied.columns)
    with pytest.raises(ValueError, match="path_finding takes tabular data, not image"):
        ATTACKS["path_finding"].begin(victim.attacker.vectors, victim.attacker.labels, rng, victim.value_range, 10)


def test_ids_are_stable_words_and_every_entry_says_where_it_comes_from() -> None:
    """Keys are the entries' ids in lower case with underscores; titles, families and sources are there."""
    for registry in (ATTACKS, PROFILES):
        for key, entry in registry.items():
            assert key == entry.id
            assert re.fullmatch(r"[a-z][a-z0-9_]*", key)
            assert all((entry.title, entry.family, entry.source))
    assert not ATTACKS.keys() & PROFILES.keys()
    assert {profile.arrival for profile in PROFILES.values()} <= ARRIVALS.keys()
    assert all(attack.data for attack in ATTACKS.values())


def test_every_attack_of_the_package_is_registered() -> None:
    """A public function that begins a thief's conversation is among the attacks, so none is forgotten."""
    written: set[Callable[..., object]] = set()
    for module_info in pkgutil.iter_modules(detector.redteam.__path__, "detector.redteam."):
        module = importlib.import_module(module_info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            signature = inspect.signature(function)
            begins = signature.return_annotation == Conversation and "classes" in signature.parameters
            if begins and not name.startswith("_"):
                written.add(function)
    assert written == {_plain(attack.make) for attack in ATTACKS.values()}


def _plain(make: Callable[..., Conversation]) -> Callable[..., Conversation]:
    return make.func if isinstance(make, partial) else make
