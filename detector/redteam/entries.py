"""How an attack or a benign profile becomes known: a decorator beside the function, and nothing else.

    @attack(id="uniform", title="Uniform random queries", family="retraining", data=("image",), source="...")
    def uniform(setting: Setting) -> Conversation: ...

Where the entries of a module share fields, it fixes them once: ``habit = partial(profile, wave="later")``. A variant with
other parameters is declared below the function: ``attack(id=...)(partial(jbda, law="noisy"))``. Modules are listed once, in
`detector.redteam.attacks` and `detector.redteam.profiles`; read what was declared in `detector.redteam.registry`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, TypeVar

from detector.redteam.conversation import Conversation
from detector.redteam.setting import Data, Setting

Begin: TypeAlias = Callable[[Setting], Conversation]
Needs: TypeAlias = Literal["labels", "probabilities"]
Wave: TypeAlias = Literal["known", "frozen", "later", "held-out"]
_Begin = TypeVar("_Begin", bound=Begin)


@dataclass(frozen=True, slots=True)
class Attack:
    """A way to steal.

    `source` is the paper; `data` are the kinds of data that it works on; `needs` says which answers the model must give for the
    attack to work as meant; `extra` is the optional dependency that it needs.
    """

    id: str
    title: str
    family: str
    source: str
    make: Begin
    data: tuple[Data, ...] = ("image",)
    needs: Needs = "labels"
    extra: str | None = None

    def begin(self, setting: Setting) -> Conversation:
        """Begin a conversation; raises ValueError if the attack does not go with such data."""
        if setting.data not in self.data:
            raise ValueError(f"{self.id} takes {' or '.join(self.data)} data, not {setting.data}")
        return self.make(setting)


@dataclass(frozen=True, slots=True)
class Profile:
    """A benign habit.

    `source` is where the habit comes from; `data` is the kind of data that it has; `arrival` is the process of
    `arrivals.ARRIVALS` that belongs to it. `wave` says what the profile may be used for, see `detector.redteam.profiles`.
    """

    id: str
    title: str
    family: str
    source: str
    make: Begin
    wave: Wave
    data: Data = "image"
    arrival: str = "poisson"

    def begin(self, setting: Setting) -> Conversation:
        """Begin a conversation; raises ValueError if the profile does not go with such data."""
        if setting.data != self.data:
            raise ValueError(f"{self.id} takes {self.data} data, not {setting.data}")
        return self.make(setting)


_attacks: dict[str, Attack] = {}
_profiles: dict[str, Profile] = {}
DECLARED_ATTACKS: Mapping[str, Attack] = MappingProxyType(_attacks)
DECLARED_PROFILES: Mapping[str, Profile] = MappingProxyType(_profiles)


def attack(
    *,
    id: str,  # noqa: A002 - the word of the published list
    title: str,
    family: str,
    source: str,
    data: tuple[Data, ...] = ("image",),
    needs: Needs = "labels",
    extra: str | None = None,
) -> Callable[[_Begin], _Begin]:
    """Declare the decorated function as an attack, see `Attack`; raises ValueError if the id is taken."""

    def declare(make: _Begin) -> _Begin:
        _new(id)
        _attacks[id] = Attack(id, title, family, source, make, data, needs, extra)
        return make

    return declare


def profile(
    *,
    id: str,  # noqa: A002 - the word of the published list
    title: str,
    family: str,
    source: str,
    wave: Wave,
    data: Data = "image",
    arrival: str = "poisson",
) -> Callable[[_Begin], _Begin]:
    """Declare the decorated function as a benign profile, see `Profile`; raises ValueError if the id is taken."""

    def declare(make: _Begin) -> _Begin:
        _new(id)
        _profiles[id] = Profile(id, title, family, source, make, wave, data, arrival)
        return make

    return declare


def _new(name: str) -> None:
    if name in _attacks or name in _profiles:
        raise ValueError(f"there are two clients with the id {name!r}")
