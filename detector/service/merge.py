"""Merging partitions by time, so that catching up does not turn the log upside down.

After a pause every partition of a log holds hours of records, and the broker hands them out partition by partition. Written on
in that order, most of a client's events would come long after later ones and be refused as late. So records wait until no
partition can still bring earlier ones: those that are behind hold the others back, those that are read to their end do not.
"""

from collections import deque
from collections.abc import Collection, Iterator
from typing import Any, Protocol

from kafka import TopicPartition

ENOUGH = 4000  # records of a partition that wait before it is paused


class Consumer(Protocol):
    """The few methods of the client that merging needs."""

    def position(self, partition: TopicPartition) -> int | None:
        """Offset of the next record."""

    def highwater(self, partition: TopicPartition) -> int | None:
        """Offset behind the last record, as far as is known."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch no more of these."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch these again."""


class Merger:
    """Holds polled records back until their turn."""

    def __init__(self) -> None:
        self._waiting: dict[TopicPartition, deque[Any]] = {}
        self._latest: dict[TopicPartition, float] = {}

    def __len__(self) -> int:
        """Return how many records wait."""
        return sum(map(len, self._waiting.values()))

    def add(self, polled: dict[TopicPartition, list[Any]], assigned: Collection[TopicPartition]) -> None:
        """Take polled records in, and forget those of partitions that are no longer ours."""
        for partition in [known for known in self._waiting if known not in assigned]:
            del self._waiting[partition]
        for partition in assigned:
            waiting = self._waiting.setdefault(partition, deque())
            # Times within a partition are not quite in order. It has come as far as the latest that waits.
            known = self._latest.get(partition, float("-inf")) if waiting else float("-inf")
            waiting.extend(polled.get(partition, ()))
            self._latest[partition] = max([known, *(record.timestamp for record in polled.get(partition, ()))])

    def due(self, consumer: Consumer) -> Iterator[tuple[TopicPartition, Any]]:
        """Yield the records whose turn it is, by time, and steer which partitions are fetched."""
        bound = float("inf")
        for partition, waiting in self._waiting.items():
            full = len(waiting) >= ENOUGH
            (consumer.pause if full else consumer.resume)(partition)
            end = consumer.highwater(partition)
            behind = end is None or (consumer.position(partition) or 0) < end
            if behind or full:
                bound = min(bound, self._latest[partition] if waiting else float("-inf"))
        while True:
            heads = [(waiting[0].timestamp, partition) for partition, waiting in self._waiting.items() if waiting]
            if not heads:
                return
            moment, partition = min(heads)
            if moment > bound:
                return
            yield partition, self._waiting[partition].popleft()
