"""Deployments: only one set of settings at a time may work on a prefix and group.

Workers of one group share its partitions. If they ran under different settings, what was decided on a client would depend on
which of them has its partition, and decisions of a shadow mode would be mixed with real ones. So each worker's client id in the
group names what it works under, and the broker tells who is there. The deployment whose oldest worker has been there longest
works; workers of another one stand by, join once the last of those has left, and go on where they ended. Standing by is ready,
so a rolling change of settings goes through by itself: old workers are replaced one by one by new ones that stand by, and after
the last one the new settings hold. Who stands by for `PATIENCE_S` ends, with both names and what to do.

A former worker that bears the name of a static member of our own host does not count: it has ended, and we take its place.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from detector.baseline.secret import settings_of
from detector.baseline.store import NO_BASELINE, Baseline
from detector.config import Config
from detector.contracts.moment import rfc3339

PATIENCE_S = 600.0
ASK_EVERY_S = 2.0
TELL_EVERY_S = 60.0
SEED_ROUNDS = 100_000  # a seed that somebody made up must not be found by trying
NAME = re.compile(r"detector\.(?P<settings>[\w]+-[\w]+-[\w]+-(?:live|shadow))\.(?P<started>\d{1,13})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What decisions depend on: versions of configuration and baseline, a mark of the secret seed, and shadow mode.

    >>> ours = Deployment("9f2c", "none", "77aa01ce", shadow=True)
    >>> str(ours), Deployment.read(str(ours)) == ours
    ('9f2c-none-77aa01ce-shadow', True)
    >>> ours.tell()
    'configuration 9f2c (shadow mode), no baseline, seed mark 77aa01ce'
    """

    configuration: str
    baseline: str
    seed: str
    shadow: bool

    @classmethod
    def of(cls, config: Config, baseline: Baseline | None) -> "Deployment":
        """Return that of a worker with these settings."""
        version = NO_BASELINE if baseline is None else baseline.version
        return cls(config.version, version, seed_mark(settings_of(config, baseline).secret), config.policy.shadow)

    @classmethod
    def read(cls, text: str) -> "Deployment | None":
        """Return what `str` was written of; None for anything else."""
        parts = text.split("-")
        if len(parts) != 4 or parts[3] not in {"live", "shadow"}:
            return None
        return cls(parts[0], parts[1], parts[2], shadow=parts[3] == "shadow")

    def __str__(self) -> str:
        """Return it as it stands in a client id and in the mark of the state."""
        return f"{self.configuration}-{self.baseline}-{self.seed}-{'shadow' if self.shadow else 'live'}"

    def tell(self) -> str:
        """Return it in words."""
        mode = " (shadow mode)" if self.shadow else ""
        baseline = "no baseline" if self.baseline == NO_BASELINE else f"baseline {self.baseline}"
        return f"configuration {self.configuration}{mode}, {baseline}, seed mark {self.seed}"


@lru_cache(8)
def seed_mark(seed: int) -> str:
    """Return eight hex digits that tell seeds apart and from which none can be computed back."""
    return hashlib.pbkdf2_hmac("sha256", str(seed).encode(), b"detector seed mark", SEED_ROUNDS)[:4].hex()


@dataclass(frozen=True, slots=True)
class Peer:
    """A member of a group: what it works under, when it started (ms since 1970), and its static name if it has one."""

    deployment: Deployment
    started_ms: int
    host: str = ""
    member: str | None = None

    @property
    def client_id(self) -> str:
        """The client id by which the others know it."""
        return f"detector.{self.deployment}.{self.started_ms}"

    @classmethod
    def read(cls, told: dict[str, Any]) -> "Peer | None":
        """Return the worker behind a member of a group as the broker tells it; None for other programs and versions."""
        found = NAME.fullmatch(str(told.get("client_id", "")))
        deployment = None if found is None else Deployment.read(found["settings"])
        if found is None or deployment is None:
            return None
        return cls(
            deployment, int(found["started"]), str(told.get("client_host", "")).lstrip("/"), told.get("group_instance_id")
        )


def peers(admin: Any, groups: Collection[str]) -> list[Peer]:
    """Return the workers that are in these groups now. Raises the client's own error when the broker does not tell."""
    described = admin.describe_groups(list(groups))
    members = [member for group in described.values() for member in group.get("members") or ()]
    return [worker for member in members if (worker := Peer.read(member)) is not None]


def in_force(ours: Peer, found: Iterable[Peer], siblings: str | None) -> Peer | None:
    """Return the worker whose settings hold in place of ours; None where ours do.

    `siblings` is how the names of our host's static members begin: one of another deployment is a predecessor that has ended.

    >>> old, new = (Peer(Deployment(name, "none", "77", shadow=False), at) for name, at in (("a", 1), ("b", 2)))
    >>> in_force(new, [new, old], None).deployment.configuration, in_force(old, [new, old], None)
    ('a', None)
    """
    there = [
        worker
        for worker in found
        if worker.deployment == ours.deployment or siblings is None or not (worker.member or "").startswith(siblings)
    ]
    first = min(there, key=lambda worker: (worker.started_ms, str(worker.deployment)), default=ours)
    return None if first.deployment == ours.deployment else first


def refusal(ours: Peer, theirs: Peer, prefix: str, group: str) -> str:
    """Return the sentence about two deployments where there may be one."""
    place = theirs.host or "an unknown host"
    return (
        f"another deployment works under [kafka] prefix {prefix!r} and group_id {group!r}, on {place} since "
        f"{rfc3339(theirs.started_ms)}: {theirs.deployment.tell()}; ours is {ours.deployment.tell()}. To replace it, stop its "
        "workers: ours go on where they end. To run both, give each a prefix and group_id of its own"
    )


def inherited(mark: str, ours: Deployment) -> str | None:
    """Return what to say of state that was written under other settings than ours; None where there is nothing to say.

    >>> ours = Deployment("9f2c", "none", "77aa01ce", shadow=False)
    >>> inherited(str(ours), ours) is None
    True
    >>> print(inherited("9f2c-none-00000000-live", ours))
    it was written under another secret seed (mark 00000000, ours is 77aa01ce): set [engine] seed to the former one
    """
    theirs = Deployment.read(mark)
    if theirs is None or theirs == ours:
        return None
    if theirs.seed != ours.seed:
        return (
            f"it was written under another secret seed (mark {theirs.seed}, ours is {ours.seed}): set [engine] seed to the "
            "former one"
        )
    return f"it was written under {theirs.tell()}; from here on ours hold: {ours.tell()}"
