"""What is found in the traffic of a day: groups of accounts, and what became of each account."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """A group that was found: its accounts, its highest evidence, its events by kind, and whether it is reviewed or stopped."""

    accounts: tuple[str, ...]
    evidence: float
    events: Mapping[str, int]
    reviewed: bool
    stopped: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: the groups with enough accounts for a campaign, and by account the moment, in days, of what it met.

    An account is `named` when it is part of a campaign that is to be reviewed, `met` when a decision stops or throttles it. An
    alert is `told` at the moment when it first lists an account.
    """

    groups: tuple[Group, ...]
    told: Mapping[str, float]
    named: Mapping[str, float]
    met: Mapping[str, float]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Size:
    """How many benign accounts there are: on the teachers' day, on the day that calibrates, and on the day itself."""

    teaching: int
    calibrating: int
    day: int
