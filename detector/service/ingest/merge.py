"""Merging partitions by time, so that catching up does not turn the log upside down.

After a pause every partition of a log holds hours of records, and the broker hands them out partition by partition. Written on
in that order, most of a client's events would come long after later ones and be refused as late. So records wait until no
partition can still bring earlier ones: those that are behind hold the others back, those that are read to their end do not.
One that is behind and brings nothing at all, since its broker is away, holds the others back for a while only.

A backfill, or a shipper that is hours late, holds the others back for as short a while: where the records that come stay older
than what has already come out by more than the lateness allowed, waiting would keep the new ones from detection and save none
of the old ones. A partition that another worker gave away in the middle of a backlog is so old, too, but catches up in time.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Any, Protocol

from kafka import TopicPartition

ENOUGH = 4000  # records of a partition that wait before it is paused
ENOUGH_BYTES = 16 * 1024 * 1024  # likewise
PATIENCE_S = 30.0  # with a partition that brings nothing


class PausableConsumer(Protocol):
    """The few methods of the client that merging needs."""

    def position(self, partition: TopicPartition, timeout_ms: int) -> int | None:
        """Offset of the next record, if it is known by then."""

    def highwater(self, partition: TopicPartition) -> int | None:
        """Offset behind the last record, as far as is known."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch no more of these."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch these again."""


class Merger:
    """Holds polled records back until their turn; `lateness_ms` is how old a record may be and still be of use."""

    def __init__(self, lateness_ms: float = float("inf"), monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lateness_ms = lateness_ms
        self._monotonic = monotonic
        self._reached = float("-inf")
        self._old: dict[TopicPartition, float] = {}  # partitions whose latest records are of no use, since when
        self._waiting: dict[TopicPartition, deque[Any]] = {}
        self._bytes: dict[TopicPartition, int] = {}
        self._latest: dict[TopicPartition, float] = {}
        self._brought: dict[TopicPartition, float] = {}

    def __len__(self) -> int:
        """Return how many records wait."""
        return sum(map(len, self._waiting.values()))

    def heads(self) -> dict[TopicPartition, Any]:
        """Return the record of each partition that is the next to come out, where one waits."""
        return {partition: waiting[0] for partition, waiting in self._waiting.items() if waiting}

    def add(self, polled: dict[TopicPartition, list[Any]], assigned: Collection[TopicPartition]) -> None:
        """Take polled records in, and forget those of partitions that are no longer ours."""
        for partition in [known for known in self._waiting if known not in assigned]:
            for figures in (self._waiting, self._bytes, self._latest, self._brought):
                figures.pop(partition)
            self._old.pop(partition, None)
        now = self._monotonic()
        for partition in assigned:
            waiting = self._waiting.setdefault(partition, deque())
            records = polled.get(partition, ())
            if records or partition not in self._brought:
                self._brought[partition] = now
            # Times within a partition are not quite in order. It has come as far as the latest that waits.
            known = self._latest.get(partition, float("-inf")) if waiting else float("-inf")
            waiting.extend(records)
            self._bytes[partition] = self._bytes.get(partition, 0) + sum(map(_size, records))
            latest = max((record.timestamp for record in records), default=float("-inf"))
            self._latest[partition] = max(known, latest)
            if records and latest < self._reached - self._lateness_ms:
                self._old.setdefault(partition, now)
            elif records:
                self._old.pop(partition, None)

    def due(self, consumer: PausableConsumer, until: float = float("inf")) -> Iterator[tuple[TopicPartition, Any]]:
        """Yield the records whose turn it is, by time, none later than `until`, and steer which partitions are fetched."""
        bound = until
        now = self._monotonic()
        for partition, waiting in self._waiting.items():
            full = len(waiting) >= ENOUGH or self._bytes[partition] >= ENOUGH_BYTES
            (consumer.pause if full else consumer.resume)(partition)
            if full:
                self._brought[partition] = now
            end = consumer.highwater(partition)
            behind = end is None or (consumer.position(partition, timeout_ms=0) or 0) < end
            silent = not waiting and now - self._brought[partition] > PATIENCE_S
            hopeless = now - self._old.get(partition, now) > PATIENCE_S
            if ((behind and not silent) or full) and not hopeless:
                bound = min(bound, self._latest[partition] if waiting else float("-inf"))
        while True:
            heads = [(waiting[0].timestamp, partition) for partition, waiting in self._waiting.items() if waiting]
            if not heads:
                return
            moment, partition = min(heads)
            if moment > bound:
                return
            record = self._waiting[partition].popleft()
            self._bytes[partition] -= _size(record)
            self._reached = max(self._reached, moment)
            yield partition, record


def _size(record: Any) -> int:
    return len(record.value or b"")
