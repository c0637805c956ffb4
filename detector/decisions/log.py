"""The decision log: where decisions are kept, and the act of a person upon it.

Two exist: the decisions topic of Kafka (`detector.service.kafka.decisions`), and a file (`file`).
"""

import getpass
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Protocol

from detector.contracts.audit import Audit, audit_of
from detector.contracts.decision import Decision
from detector.decisions.manual import Order, compose
from detector.decisions.register import Register
from detector.distribution import VERSION
from detector.errors import DetectorError

__all__ = ["DecisionLog", "decide"]


class DecisionLog(Protocol):
    """Where decisions are kept. Every method raises `DetectorError` where that cannot be reached."""

    def register(self) -> Register:
        """Read it all: the latest decision of each key."""
        ...

    def add(self, decision: Decision, trail: Audit) -> bool:
        """Write the audit record and then the decision, each to safety.

        False where somebody else wrote under the same key since `register` was read; the decision is then not the latest.
        """
        ...

    def note(self, trail: Audit) -> None:
        """Write an audit record alone."""
        ...

    def records(self, *, beginning: bool, stop: Callable[[], bool]) -> Iterator[tuple[str | None, bytes | None]]:
        """Yield keys and records as they are written, from the beginning or from now on, until `stop` says so."""
        ...


TRIES = 5


def decide(log: DecisionLog, order: Order, now: Callable[[], int]) -> Decision:
    """Publish what a person ordered, with its audit record; return the decision.

    Where two people decide about the same subject at the same moment, the later one is written again with a higher revision, so
    that all readers keep the same one.

    Raises `ConfigError` where the order cannot be carried out, and what the log raises.
    """
    for _ in range(TRIES):
        register = log.register()
        moment = now()
        decision = compose(order, register, moment)
        before = tuple(held.decision for held in register.about(order.target) if held.live(moment))
        try:
            if log.add(decision, _trail(decision, before, failed=False)):
                return decision
        except DetectorError:
            with suppress(DetectorError):
                log.note(_trail(decision, before, failed=True))
            raise
    raise DetectorError(f"others went on deciding about {order.target.id!r} at the same time: look at it, and try again")


def _trail(decision: Decision, before: tuple[Decision, ...], *, failed: bool) -> Audit:
    try:
        login = getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in a container
        login = None
    return audit_of(
        decision,
        before,
        outcome="failure" if failed else "unknown",
        login=login,
        host=socket.gethostname() or None,
        version=VERSION,
    )
