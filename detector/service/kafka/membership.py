"""Group membership: partitions that come and go, and how a static member keeps partitions from staying unassigned.

Cooperative assignment takes two rebalances. In the first, a member learns which partitions to give up. It then requests the
second, which gives them to another member. If a static member dies between the two, its successor has the same name and gets
the reduced assignment without a rebalance. It triggers no second rebalance, so the revoked partitions stay unassigned until the
group changes for another reason. Therefore each static member requests one rebalance after it has joined. It moves nothing
where all partitions are assigned.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from kafka import TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.base import MemberState
from kafka.errors import FencedInstanceIdError


class PartitionOwner(Protocol):
    """The object that takes partitions over and gives them up."""

    def gained(self, partitions: Iterable[TopicPartition]) -> None:
        """Own these partitions from now on."""

    def giving_up(self, partitions: Iterable[TopicPartition]) -> None:
        """Commit their state, since another member gets them next."""

    def lost(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget them: another member has them already."""


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Tells the owner about assignments; called from the client's own thread."""

    def __init__(self, owner: PartitionOwner) -> None:
        self._owner = owner

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Report partitions gained."""
        self._owner.gained(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Report partitions to give up."""
        self._owner.giving_up(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        """Report partitions lost."""
        self._owner.lost(lost)


class Membership:
    """Watches one consumer's membership; `static` says that it is a static member."""

    def __init__(self, consumer: Any, *, static: bool) -> None:
        self._consumer = consumer
        self._static = static
        self._owes_rebalance = static

    def settle(self) -> None:
        """Request the rebalance that a static member owes; call it between polls.

        Raises `FencedInstanceIdError` when another process has joined under the name of this static member. The client then
        ends its heartbeats, but reports it with the next commit only, which a member without work never makes.
        """
        coordinator = getattr(self._consumer, "_coordinator", None)  # no public attribute; librdkafka reports it itself
        if self._static and coordinator is not None:
            with coordinator._lock:  # noqa: SLF001
                resting = coordinator.state is MemberState.STABLE and not coordinator.rejoining
                if resting and not coordinator._heartbeat_enabled:  # noqa: SLF001
                    raise FencedInstanceIdError("its heartbeat was refused: the name belongs to another process")
        if self._owes_rebalance and self._consumer.group_metadata().state is MemberState.STABLE:
            self._owes_rebalance = False
            self._consumer._coordinator.request_rejoin()  # noqa: SLF001  # there is no public way
