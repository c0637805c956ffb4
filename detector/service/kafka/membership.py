"""Membership of a group: partitions that come and go, and what a static member has to do so that none is left to nobody.

Cooperative assignment takes two rounds: in the first a member is told what to give up, in the second, which it asks for when
it has, that goes to another. A static member that dies between the two is not missed: its successor bears the same name, is
handed the reduced assignment without a round, has nothing to give up and asks for none, and what was to move belongs to nobody
until the group happens to change. So each static member asks for a round of its own once it has joined; where all is in order
that moves nothing.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from kafka import TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.base import MemberState
from kafka.errors import FencedInstanceIdError


class PartitionOwner(Protocol):
    """Who takes partitions over and gives them up."""

    def gained(self, partitions: Iterable[TopicPartition]) -> None:
        """Have them from now on."""

    def giving_up(self, partitions: Iterable[TopicPartition]) -> None:
        """Commit what belongs to them, since somebody else has them next."""

    def lost(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget them: somebody else has them already."""


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Tells the owner; called from the client's own thread."""

    def __init__(self, owner: PartitionOwner) -> None:
        self._owner = owner

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Pass it on."""
        self._owner.gained(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Pass it on."""
        self._owner.giving_up(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Pass it on."""
        self._owner.lost(lost)


class Membership:
    """Watches one consumer's membership; `static` says that it bears a name."""

    def __init__(self, consumer: Any, *, static: bool) -> None:
        self._consumer = consumer
        self._static = static
        self._owes_round = static

    def settle(self) -> None:
        """Ask for the round that is owed; to be called between polls.

        Raises `FencedInstanceIdError` when another process has joined under the name of a static member. The client notes that
        by ending its heartbeats and says it with the next commit only, which a member without work never makes.
        """
        coordinator = getattr(self._consumer, "_coordinator", None)  # there is no public way; the other client says it itself
        if self._static and coordinator is not None:
            with coordinator._lock:  # noqa: SLF001
                resting = coordinator.state is MemberState.STABLE and not coordinator.rejoining
                if resting and not coordinator._heartbeat_enabled:  # noqa: SLF001
                    raise FencedInstanceIdError("its heartbeat was refused: the name belongs to another process")
        if self._owes_round and self._consumer.group_metadata().state is MemberState.STABLE:
            self._owes_round = False
            self._consumer._coordinator.request_rejoin()  # noqa: SLF001  # there is no public way
