"""Merging partitions by time, so that a backlog is not written out of order.

After a pause every partition of a log holds hours of records, and the broker delivers them partition by partition. In that
order, most of a client's events would follow later ones and be refused as late. So a record waits until no partition can still
bring an earlier one. A partition that is behind holds the others back; one that is read to its end does not. A partition that
is behind and brings nothing, since its broker is away, holds the others back for `PATIENCE_S` only.

The same limit holds for a backfill, or a log shipper that is hours late. Its records stay older than what was already written
by more than the allowed lateness, so waiting would delay the new records and save none of the old ones. A partition that
another worker gave up in the middle of a backlog is as old at first, but catches up within the limit.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from heapq import heapify, heappop, heapreplace
from typing import Any, Protocol

from kafka import TopicPartition

ENOUGH = 4000  # records of a partition that wait before it is paused
ENOUGH_BYTES = 16 * 1024 * 1024  # of a partition's waiting records before it is paused
PATIENCE_S = 30.0  # that a partition holds the others back while it brings nothing, or only records too old to use


class PausableReader(Protocol):
    """The few methods of a `Reader` that merging needs."""

    def position(self, partition: TopicPartition) -> int | None:
        """Offset of the next record, where it is known."""

    def highwater(self, partition: TopicPartition) -> int | None:
        """Offset behind the last record, as far as is known."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Stop fetching these partitions."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch these partitions again."""


class Merger:
    """Holds polled records back until they are due; a record older than `lateness_ms` is of no use to detection."""

    def __init__(self, lateness_ms: float = float("inf"), monotonic: Callable[[], float] = time.monotonic) -> None:
        self._lateness_ms = lateness_ms
        self._monotonic = monotonic
        self._reached = float("-inf")
        self._old: dict[TopicPartition, float] = {}  # partitions whose latest records are too old to use, and since when
        self._waiting: dict[TopicPartition, deque[Any]] = {}
        self._bytes: dict[TopicPartition, int] = {}
        self._latest: dict[TopicPartition, float] = {}
        self._brought: dict[TopicPartition, float] = {}

    def __len__(self) -> int:
        """Return how many records wait."""
        return sum(map(len, self._waiting.values()))

    def heads(self) -> dict[TopicPartition, Any]:
        """Return the next record to come out of each partition, where one waits."""
        return {partition: waiting[0] for partition, waiting in self._waiting.items() if waiting}

    def add(self, polled: Mapping[TopicPartition, list[Any]], assigned: Collection[TopicPartition]) -> None:
        """Add polled records, and forget those of partitions that are no longer ours."""
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
            # Times within a partition are only roughly ordered, so the latest waiting record says how far it has come.
            known = self._latest.get(partition, float("-inf")) if waiting else float("-inf")
            waiting.extend(records)
            self._bytes[partition] = self._bytes.get(partition, 0) + sum(map(_size, records))
            latest = max((record.timestamp for record in records), default=float("-inf"))
            self._latest[partition] = max(known, latest)
            if records and latest < self._reached - self._lateness_ms:
                self._old.setdefault(partition, now)
            elif records:
                self._old.pop(partition, None)

    def due(self, reader: PausableReader, until: float = float("inf")) -> Iterator[tuple[TopicPartition, Any]]:
        """Yield the records that are due, by time, none later than `until`; pause and resume partitions."""
        bound = until
        now = self._monotonic()
        for partition, waiting in self._waiting.items():
            full = len(waiting) >= ENOUGH or self._bytes[partition] >= ENOUGH_BYTES
            (reader.pause if full else reader.resume)(partition)
            if full:
                self._brought[partition] = now
            end = reader.highwater(partition)
            behind = end is None or (reader.position(partition) or 0) < end
            silent = not waiting and now - self._brought[partition] > PATIENCE_S
            hopeless = now - self._old.get(partition, now) > PATIENCE_S
            if ((behind and not silent) or full) and not hopeless:
                bound = min(bound, self._latest[partition] if waiting else float("-inf"))
        heads = [(waiting[0].timestamp, partition) for partition, waiting in self._waiting.items() if waiting]
        heapify(heads)
        while heads:
            moment, partition = heads[0]
            if moment > bound:
                return
            waiting = self._waiting[partition]
            following = min(heads[1:3], default=None)  # as long as it comes before this one, the heap stays as it is
            while waiting:
                head = waiting[0].timestamp
                if head > bound or (following is not None and (head, partition) > following):
                    break
                record = waiting.popleft()
                self._bytes[partition] -= _size(record)
                self._reached = max(self._reached, head)
                yield partition, record
            if waiting:
                heapreplace(heads, (waiting[0].timestamp, partition))
            else:
                heappop(heads)


def _size(record: Any) -> int:
    return len(record.value or b"")
