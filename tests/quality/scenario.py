"""What a cell of the table is: who plays, how, and what is promised.

A `Theft` is an attack under a disguise against a model, an `Innocence` a benign profile. Each carries its own target: the
action, the number of queries within which it has to come, the share of clients, and the tolerance, so that there is one place
to look up what the detector is held to. Ids stand in published tables: one that has been given is never renamed nor reused.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from detector.redteam.sessions import Disguise

Action: TypeAlias = Literal["alert", "throttle", "stop"]
Part: TypeAlias = Literal["known", "left-out", "frozen", "later", "held-out"]
Counted: TypeAlias = Literal["after", "synthetic"]


@dataclass(frozen=True, slots=True)
class Goal:
    """At least `share` of the thieves, less `tolerance`, meet `action` `within` so many queries.

    Queries are those of the thief, cover included, from the first that he made up; from his first own one if he makes none. A
    promise is a gate for a release. An aim is shown and may be missed, and `why` says what is in the way; with a share of 0
    nothing is asked but that the cell is measured.
    """

    action: Action
    within: int
    share: float = 0.95
    tolerance: float = 0.05
    promised: bool = True
    why: str = ""

    def met(self, share: float) -> bool:
        """Tell whether a measured share is enough.

        >>> Goal("stop", 50, share=0.95, tolerance=0.05).met(0.9), Goal("stop", 50).met(0.89)
        (True, False)
        """
        return share >= self.share - self.tolerance - 1e-9


UNSET = Goal("alert", 0, share=0.0, promised=False, why="no goal is set")


@dataclass(frozen=True, slots=True)
class Limits:
    """At most these shares of innocent clients, plus `tolerance`, ever meet an alert, a throttle, a stop.

    Those that are `promised` are a gate for a release; the others are aims, and `why` says what is in the way.
    """

    alert: float
    throttle: float
    stop: float
    tolerance: float = 0.0
    promised: tuple[Action, ...] = ("alert", "throttle", "stop")
    why: str = ""

    def met(self, action: Action, share: float) -> bool:
        """Tell whether a measured share is small enough.

        >>> Limits(alert=0.05, throttle=0.01, stop=0.0).met("stop", 0.01)
        False
        """
        limit = {"alert": self.alert, "throttle": self.throttle, "stop": self.stop}[action]
        return share <= limit + self.tolerance + 1e-9


FREE = Limits(1.0, 1.0, 1.0, promised=(), why="no limits are set")


@dataclass(frozen=True, slots=True)
class Theft:
    """`instances` thieves, each alone with the model, or among innocents where he has more than one account.

    `group` is the id of the group in the table of worlds (`tests.quality.goals.GROUPS`), and `evasion` that of a thief who
    knows the design (`detector.redteam.design_aware`).
    """

    id: str
    data: str
    victim: str
    attack: str
    goal: Goal | None
    disguise: Disguise = field(default_factory=Disguise)
    budget: int = 600
    instances: int = 10
    seed: int = 1
    group: str = ""
    evasion: str = ""

    @property
    def simulation(self) -> str:
        """Which model it is."""
        return f"{self.data}-{self.victim}"


@dataclass(frozen=True, slots=True)
class Innocence:
    """`sessions` innocents of one profile, all at once, as a fleet of the same device would ask.

    `part` says what the detectors knew: *known* profiles were in the benign past, one that is *left out* was taken from it, and
    *frozen* ones, those that came *later* and those that are *held out*, have never been there.
    """

    id: str
    data: str
    victim: str
    profile: str
    part: Part
    limits: Limits | None
    budget: int = 600
    sessions: int = 40
    seed: int = 1

    @property
    def simulation(self) -> str:
        """Which model it is."""
        return f"{self.data}-{self.victim}"

    @property
    def without(self) -> str | None:
        """The profile that the benign past must do without."""
        return self.profile if self.part == "left-out" else None


Scenario: TypeAlias = Theft | Innocence


@dataclass(frozen=True, slots=True)
class Group:
    """A row of the table of worlds: attacks of one kind, and when they have to be met.

    A thief counts as met `within` N where `action` came after at most N queries: of all his queries since the first that he
    made up, or of the made-up ones alone, as `counted` says. `shares` are the goals, None where nothing is asked.
    """

    id: str
    title: str
    action: Action
    within: tuple[int, int]
    shares: tuple[float | None, float | None]
    counted: Counted = "after"
    why: str = ""
