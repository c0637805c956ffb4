"""Deployments: only one set of settings at a time may work on a prefix and group.

Workers of one group share its partitions. If they ran under different settings, a decision would depend on which worker has the
client's partition, and simulated decisions would be mixed with real ones. So the client id of each worker names its settings,
and the broker lists the members. The deployment with the oldest worker is in force. Workers of another deployment stand by:
they join once the last worker of the first has left, and continue from its last commit.

A worker that stands by is ready, so a rolling change of settings needs no help: new workers replace the old ones one by one and
stand by, and once the last old one is gone the new settings are in force. A worker that has stood by for `PATIENCE_S` ends with
a message that names both deployments and what to do.

A member with the name of a static member of our own host does not count: that process has ended, and we replace it.
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
SEED_ROUNDS = 100_000  # of PBKDF2: a short seed must not be found by trying
NAME = re.compile(r"detector\.(?P<settings>[\w]+-[\w]+-[\w]+-(?:live|shadow))\.(?P<started>\d{1,13})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What decisions depend on: versions of configuration and baseline, a mark of the secret seed, and shadow mode.

    Policy that may change under a running service is not part of it, see `reload`: each decision names its version.

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
        """Return the deployment of a worker with these settings."""
        version = NO_BASELINE if baseline is None else baseline.version
        return cls(config.fixed_version, version, seed_mark(settings_of(config, baseline).secret), config.policy.shadow)

    @classmethod
    def read(cls, text: str) -> "Deployment | None":
        """Return the deployment that `str` wrote as `text`; None for any other text."""
        parts = text.split("-")
        if len(parts) != 4 or parts[3] not in {"live", "shadow"}:
            return None
        return cls(parts[0], parts[1], parts[2], shadow=parts[3] == "shadow")

    def __str__(self) -> str:
        """Return the form used in client ids and in the mark of the state."""
        return f"{self.configuration}-{self.baseline}-{self.seed}-{'shadow' if self.shadow else 'live'}"

    def tell(self) -> str:
        """Return it in words, for messages."""
        mode = " (shadow mode)" if self.shadow else ""
        baseline = "no baseline" if self.baseline == NO_BASELINE else f"baseline {self.baseline}"
        return f"configuration {self.configuration}{mode}, {baseline}, seed mark {self.seed}"


@lru_cache(8)
def seed_mark(seed: int) -> str:
    """Return eight hex digits that differ between seeds and do not reveal the seed."""
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
    def read(cls, described: dict[str, Any]) -> "Peer | None":
        """Return the worker that the broker describes as a member; None for other programs and versions."""
        found = NAME.fullmatch(str(described.get("client_id", "")))
        deployment = None if found is None else Deployment.read(found["settings"])
        if found is None or deployment is None:
            return None
        host = str(described.get("client_host", "")).lstrip("/")
        return cls(deployment, int(found["started"]), host, described.get("group_instance_id"))


def peers(admin: Any, groups: Collection[str]) -> list[Peer]:
    """Return the workers that are in these groups now. Raises the client's own error when the broker does not answer."""
    described = admin.describe_groups(list(groups))
    members = [member for group in described.values() for member in group.get("members") or ()]
    return [worker for member in members if (worker := Peer.read(member)) is not None]


def in_force(ours: Peer, found: Iterable[Peer], siblings: str | None) -> Peer | None:
    """Return the worker whose settings hold in place of ours; None where ours do.

    `siblings` is the prefix of our host's static member names. Such a member of another deployment is a predecessor that ended.

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
    """Return the message for two deployments on one prefix and group."""
    place = theirs.host or "an unknown host"
    return (
        f"another deployment works under [kafka] prefix {prefix!r} and group_id {group!r}, on {place} since "
        f"{rfc3339(theirs.started_ms)}: {theirs.deployment.tell()}; ours is {ours.deployment.tell()}. To replace it, stop its "
        "workers: ours then continue from their last commit. To run both, give each its own prefix and group_id"
    )


def inherited(mark: str, ours: Deployment) -> str | None:
    """Return the message about state written under other settings than ours; None where there is nothing to say.

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
