import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable

import numpy as np
import pytest

import detector.redteam
from detector.redteam.arrivals import ARRIVALS
from detector.redteam.conversation import Array, Conversation, converse
from detector.redteam.registry import ATTACKS, PROFILES
from detector.redteam.victim import Victim

CLIENTS = [f"attack {name}" for name in ATTACKS] + [f"profile {name}" for name in PROFILES]


def _begin(client: str, victim: Victim, seed: int) -> Conversation:
    kind, name = client.split()
    rng = np.random.default_rng(seed)
    if kind == "attack":
        pool = victim.attacker
        return ATTACKS[name].make(pool.vectors, pool.labels, rng, victim.value_range, victim.classes)
    pool = victim.benign
    return PROFILES[name].make(pool.vectors, pool.labels, rng, victim.value_range)


def _play(client: str, victim: Victim, seed: int, budget: int) -> tuple[Array, Array, np.ndarray]:
    return converse(_begin(client, victim, seed), victim.predict, budget)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_asks_valid_queries_up_to_its_budget(client: str, victim: Victim) -> None:
    """Queries are finite, of the right dimension and in the value range, and exactly as many as were paid for."""
    for budget in (0, 1, 150):
        vectors, answers, synthetic = _play(client, victim, 11, budget)
        assert len(vectors) == len(answers) == len(synthetic) == budget
    assert vectors.shape == (150, 64)
    assert answers.shape == (150, 10)
    assert np.isfinite(vectors).all()
    assert vectors.min() >= 0.0
    assert vectors.max() <= 16.0


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_determined_by_its_generator(client: str, victim: Victim) -> None:
    """The same seed asks the same queries, another seed asks others, and a longer budget only continues."""
    vectors, _, synthetic = _play(client, victim, 5, 120)
    again, _, made = _play(client, victim, 5, 60)
    assert np.array_equal(vectors[:60], again)
    assert np.array_equal(synthetic[:60], made)
    assert not np.array_equal(vectors, _play(client, victim, 6, 120)[0])


@pytest.mark.parametrize("client", CLIENTS)
def test_no_client_touches_the_pool(client: str, victim: Victim) -> None:
    """Pools are shared between clients, so nobody may write into them."""
    before = victim.attacker.vectors.copy(), victim.benign.vectors.copy()
    _play(client, victim, 3, 80)
    assert np.array_equal(before[0], victim.attacker.vectors)
    assert np.array_equal(before[1], victim.benign.vectors)


@pytest.mark.parametrize("name", PROFILES)
def test_innocents_make_nothing(name: str, victim: Victim) -> None:
    """No profile marks a query as made by an attacker."""
    assert not _play(f"profile {name}", victim, 2, 100)[2].any()


def test_ids_are_stable_words_and_every_entry_says_where_it_comes_from() -> None:
    """Keys are the entries' ids in lower case with underscores; titles, families and sources are there."""
    for registry in (ATTACKS, PROFILES):
        for key, entry in registry.items():
            assert key == entry.id
            assert re.fullmatch(r"[a-z][a-z0-9_]*", key)
            assert all((entry.title, entry.family, entry.source))
    assert not ATTACKS.keys() & PROFILES.keys()
    assert {profile.arrival for profile in PROFILES.values()} <= ARRIVALS.keys()


def test_every_conversation_of_the_package_is_registered() -> None:
    """A public function that returns a conversation is in one of the two registries, so none is forgotten."""
    written: set[Callable[..., object]] = set()
    for module_info in pkgutil.iter_modules(detector.redteam.__path__, "detector.redteam."):
        module = importlib.import_module(module_info.name)
        written |= {
            function
            for name, function in inspect.getmembers(module, inspect.isfunction)
            if not name.startswith("_") and inspect.signature(function).return_annotation == Conversation
        }
    registered = {attack.make for attack in ATTACKS.values()} | {profile.make for profile in PROFILES.values()}
    assert written == registered
