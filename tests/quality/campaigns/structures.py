"""What joins innocent accounts: organisations with many keys, shadow copies, load tests, retries, shared and popular data.

A structure is a generator. It yields the streams that it needs, each a profile and a number of queries, is sent what these
asked, and returns the accounts. So the streams of a whole day can be played at once.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np

from detector.redteam.conversation import Array, Labels
from detector.redteam.registry import PROFILES
from detector.redteam.targets import Target
from tests.quality.campaigns.alterations import Alteration, encoded_again, new_device, noisy, turned_a_little

POPULAR, ONBOARDING = 200, 25  # inputs that many accounts ask about; those that new accounts begin with
SHORTEST, LONGEST = 5, 400  # queries of an account
KEYS = (4, 40)  # of an organisation


class Stream(NamedTuple):
    """Queries of one client of a benign profile."""

    profile: str
    queries: int


class Member(NamedTuple):
    """One account: what it asked, (n, dimension), when, (n,) in days, and what it is called in tables."""

    role: str
    rows: Array
    moments: Array


Structure: TypeAlias = Generator[Sequence[Stream], Sequence[Array], Sequence[Member]]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What the structures of a day share: the model, its `profiles`, and inputs that everybody knows."""

    target: Target
    profiles: Sequence[str]
    popular: Array
    onboarding: Array
    canaries: Array

    @classmethod
    def of(cls, target: Target, profiles: Sequence[str], rng: np.random.Generator) -> "Scene":
        """Choose the inputs that everybody knows."""
        pool = target.benign.vectors
        low, high = pool.min(axis=0), pool.max(axis=0)
        return cls(
            target,
            profiles,
            pool[rng.choice(len(pool), min(POPULAR, len(pool)), replace=False)],
            pool[rng.choice(len(pool), min(ONBOARDING, len(pool)), replace=False)],
            np.stack([low, high, pool[int(rng.integers(len(pool)))]]),
        )

    @property
    def steady(self) -> str:
        """The profile of a client that asks about natural inputs and nothing else."""
        return {"image": "steady", "tabular": "tab_steady", "text": "text_steady"}[self.target.data]

    def any_profile(self, rng: np.random.Generator) -> str:
        """Draw a profile."""
        return self.profiles[int(rng.integers(len(self.profiles)))]

    def own(self, count: int, rng: np.random.Generator) -> Array:
        """Draw natural inputs."""
        return self.target.benign.vectors[rng.integers(len(self.target.benign.vectors), size=count)]


def single(scene: Scene, rng: np.random.Generator) -> Structure:
    """One account of any profile."""
    profile = scene.any_profile(rng)
    (rows,) = yield [Stream(profile, length(rng))]
    return [Member(profile, rows, moments(rng, len(rows)))]


def popular(scene: Scene, rng: np.random.Generator) -> Structure:
    """One account that asks what many ask: exactly, with noise, encoded otherwise, or turned a little."""
    yield []
    count = length(rng)
    share = 1.0 / np.arange(1, len(scene.popular) + 1) ** 0.8
    rows = scene.popular[rng.choice(len(scene.popular), count, p=share / share.sum())]
    kinds: tuple[tuple[str, Alteration], ...] = (
        ("exact", lambda same, _: same),
        ("noisy", noisy(scene.target)),
        ("encoded", encoded_again(scene.target)),
        ("turned", turned_a_little(scene.target)),
    )
    name, alter = kinds[int(rng.integers(len(kinds)))]
    return [Member(f"popular-{name}", alter(rows, rng), moments(rng, count))]


def onboarded(scene: Scene, rng: np.random.Generator) -> Structure:
    """One account that asks about the data of the tutorial, and then about its own."""
    yield []
    rows = np.vstack([scene.onboarding, scene.own(length(rng), rng)])
    return [Member("onboarding", rows, moments(rng, len(rows)))]


def canary(scene: Scene, rng: np.random.Generator) -> Structure:
    """One account that asks the same input all the time, one of three that everybody uses."""
    yield []
    count = length(rng)
    rows = np.repeat(scene.canaries[int(rng.integers(len(scene.canaries)))][None], count, axis=0)
    return [Member("canary", rows, moments(rng, count))]


def organization(scene: Scene, rng: np.random.Generator) -> Structure:
    """One stream of any profile, which an organisation deals to its keys in turn, in blocks or at random."""
    profile, keys = scene.any_profile(rng), _keys(rng)
    (rows,) = yield [Stream(profile, keys * int(rng.integers(5, 60)))]
    when = moments(rng, len(rows), lasting=float(rng.uniform(0.05, 0.5)))
    return _dealt(f"organization-{profile}", rows, when, keys, rng)


def rollout(scene: Scene, rng: np.random.Generator) -> Structure:
    """An organisation whose keys all change to a new device at about the same time."""
    keys = _keys(rng)
    devices = [name for name in scene.profiles if PROFILES[name].family == "device"]
    alter = new_device(scene.target)
    after = scene.steady if alter is not None or not devices else devices[int(rng.integers(len(devices)))]
    queries = keys * int(rng.integers(5, 40))
    old, new = yield [Stream(scene.steady, queries), Stream(after, queries)]
    if alter is not None:
        new = alter(new, rng)
    middle = float(rng.uniform(0.2, 0.8))
    found = []
    for rows, when, dealer in (
        (old, middle * np.sort(rng.random(len(old))), _in_turn(len(old), keys)),
        (new, middle + (1.0 - middle) * np.sort(rng.random(len(new))) ** 2, _in_turn(len(new), keys)),
    ):
        found.append([(rows[dealer == key], when[dealer == key]) for key in range(keys)])
    return [
        Member(f"rollout-{after}", np.vstack([before[0], later[0]]), np.concatenate([before[1], later[1]]))
        for before, later in zip(*found, strict=True)
    ]


def shadow(scene: Scene, rng: np.random.Generator) -> Structure:
    """A second account asks the same a little later, as it was or encoded otherwise; sometimes there is a third."""
    profile = scene.any_profile(rng)
    (rows,) = yield [Stream(profile, length(rng))]
    when, again = moments(rng, len(rows)), encoded_again(scene.target)
    copies = 2 if rng.random() < 0.3 else 1
    members = [Member(f"shadow-{profile}", rows, when)]
    for late in (2e-4, 2e-3)[:copies]:
        own = rows if rng.random() < 0.2 else again(rows, rng)
        members.append(Member(f"shadow-{profile}", own, np.minimum(when + rng.exponential(late), 1.0)))
    return members


def load_test(scene: Scene, rng: np.random.Generator) -> Structure:
    """A few inputs, asked many times through several keys at once."""
    yield []
    inputs, begin = scene.own(int(rng.integers(1, 6)), rng), float(rng.uniform(0.0, 0.8))
    members = []
    for _ in range(int(rng.integers(3, 12))):
        count = length(rng)
        rows = inputs[rng.integers(len(inputs), size=count)]
        members.append(Member("load-test", rows, moments(rng, count, begin, 0.05)))
    return members


def retries(scene: Scene, rng: np.random.Generator) -> Structure:
    """What failed with one key is asked again with the others, as it was or with a little noise."""
    (rows,) = yield [Stream(scene.steady, length(rng))]
    when, alter = moments(rng, len(rows)), noisy(scene.target)
    members = []
    for _ in range(int(rng.integers(2, 6))):
        chosen = rng.random(len(rows)) < 0.6
        chosen[0] = True
        own = alter(rows[chosen], rng) if rng.random() < 0.5 else rows[chosen]
        members.append(Member("retries", own, np.minimum(when[chosen] + rng.exponential(1e-4), 1.0)))
    return members


STRUCTURES: Mapping[str, tuple[float, Callable[[Scene, np.random.Generator], Structure]]] = MappingProxyType(
    {
        "single": (0.63, single),
        "popular": (0.12, popular),
        "onboarding": (0.06, onboarded),
        "canary": (0.05, canary),
        "organization": (0.05, organization),
        "rollout": (0.005, rollout),
        "shadow": (0.06, shadow),
        "load-test": (0.02, load_test),
        "retries": (0.02, retries),
    }
)
"""Structures by permanent id, with the share of all that each has; about 60% of the accounts have an organisation."""


def length(rng: np.random.Generator) -> int:
    """Draw the number of queries of an account: 37 in the middle, and a long tail."""
    return int(np.clip(rng.lognormal(3.6, 0.9), SHORTEST, LONGEST))


def moments(rng: np.random.Generator, count: int, begin: float | None = None, lasting: float | None = None) -> Array:
    """Draw when `count` queries come, in days and in order: evenly, at random or in bursts, over some part of a day."""
    first = float(rng.uniform(0.0, 0.85)) if begin is None else begin
    wanted = float(rng.lognormal(-3.0, 1.2)) if lasting is None else lasting
    kind = int(rng.integers(3))
    if kind == 0:
        within = np.sort(rng.random(count))
    elif kind == 1:
        within = np.linspace(0.0, 1.0, count)
    else:
        within = np.cumsum(rng.exponential(1.0, count) * np.where(rng.random(count) < 0.1, 20.0, 1.0))
        within /= within[-1] if count else 1.0
    return np.asarray(first + within * min(1.0 - first, wanted))


def _keys(rng: np.random.Generator) -> int:
    return int(rng.integers(KEYS[0], KEYS[1] + 1))


def _in_turn(count: int, keys: int) -> Labels:
    return np.arange(count, dtype=np.int64) % keys


def _dealt(role: str, rows: Array, when: Array, keys: int, rng: np.random.Generator) -> list[Member]:
    dealings: tuple[Labels, ...] = (
        _in_turn(len(rows), keys),
        np.arange(len(rows), dtype=np.int64) * keys // max(len(rows), 1),
        rng.integers(0, keys, len(rows)),
    )
    account = dealings[int(rng.integers(len(dealings)))]
    return [Member(role, rows[account == key], when[account == key]) for key in range(keys) if (account == key).any()]
