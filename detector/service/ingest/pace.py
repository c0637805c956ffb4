"""Pacing the ingest workers against each other, so that a backlog is not written out of order.

Merging by time works within one worker. After a pause several workers read the backlog, each its own partitions. A worker that
runs ahead would write a client's later events before the earlier ones of a slower worker, which detection would then refuse as
late. So each worker publishes, with the offset that it commits for a partition, the time of the record reached there. No worker
writes records that are more than `slack_ms` later than the partition furthest behind.

A partition that is read to its end holds nobody back. A partition whose worker makes no progress is waited for until the group
gives it to another one. A backfill is waited for no longer than that. It is recognised by its next records: they stay older
than what was already written by more than twice the slack, which is the lateness that detection allows. A partition that was
given up in the middle of a backlog is as old at first, but catches up within that time.
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog
from kafka import TopicPartition

from detector.errors import BrokerError
from detector.service.kafka.clients.protocol import Committed

EVERY_S = 1.0
ASK_MS = 2000
NO_BOUND = float("inf")

log = structlog.get_logger(__name__)


class GroupReader(Protocol):
    """The few methods of a `Reader` that pacing needs."""

    def partitions_of(self, topic: str) -> Collection[int]:
        """Return the numbers of a topic's partitions, where they are known."""

    def committed(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, Committed]:
        """Return what the group has committed."""

    def beginning_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Return the first offset of each partition."""

    def end_offsets(self, partitions: list[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
        """Return the offset behind the last record of each partition."""

    def first_since(self, times_ms: dict[TopicPartition, int], timeout_ms: int) -> dict[TopicPartition, tuple[int, int] | None]:
        """Return offset and time of the first record that is not older."""


@dataclass(slots=True)
class _Seen:
    """Another worker's partition: its committed offset, since when it is the same, and the end as of the last request."""

    offset: int
    since_s: float
    end: int


class Pace:
    """Up to which record time (ms) one ingest worker may write; it waits `patience_s` for workers without progress."""

    def __init__(
        self,
        reader: GroupReader,
        topics: Collection[str],
        slack_ms: int,
        patience_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._topics = topics
        self._slack_ms = slack_ms
        self._patience_s = patience_s
        self._monotonic = monotonic
        self._asked = float("-inf")
        self._seen: dict[TopicPartition, _Seen] = {}
        self._old: dict[TopicPartition, float] = {}  # partitions whose next records are too old to use, and since when
        self._bound = NO_BOUND
        self._assigned: set[TopicPartition] = set()

    def bound(self, assigned: set[TopicPartition]) -> float:
        """Return the time up to which records may be written; `assigned` are the partitions that are ours."""
        now = self._monotonic()
        if assigned != self._assigned:  # another worker may have a backlog now: write nothing until we know
            self._assigned = set(assigned)
            self._bound = -NO_BOUND
        elif now < self._asked + EVERY_S:
            return self._bound
        try:
            everything = {
                TopicPartition(topic, number) for topic in self._topics for number in self._reader.partitions_of(topic)
            }
        except BrokerError:  # without an answer the last bound stands
            self._asked = now
            return self._bound
        if not assigned <= everything:  # a new member may know its own partitions before the topic
            self._bound = -NO_BOUND
            return self._bound
        self._asked = now
        others = everything.difference(assigned)
        self._seen = {partition: seen for partition, seen in self._seen.items() if partition in others}
        if not others:
            self._bound = NO_BOUND
            return self._bound
        with suppress(BrokerError):  # likewise
            self._bound = self._ask(others, assigned, now)
        return self._bound

    def _ask(self, others: Collection[TopicPartition], assigned: Collection[TopicPartition], now: float) -> float:
        places = sorted(others)
        committed = self._reader.committed(sorted({*others, *assigned}), timeout_ms=ASK_MS)
        written = max((moment for found in committed.values() if (moment := _moment(found)) is not None), default=-NO_BOUND)
        oldest = written - 2 * self._slack_ms
        ends = self._reader.end_offsets(places, timeout_ms=ASK_MS)
        begins = self._reader.beginning_offsets(places, timeout_ms=ASK_MS)
        slow: dict[TopicPartition, float] = {}
        unknown = []
        for place in places:
            found = committed.get(place)
            at = begins[place] if found is None or found.offset < begins[place] else found.offset
            seen = self._seen.get(place)
            # Records that came since we last asked are not a backlog yet.
            behind = at < (ends[place] if seen is None else seen.end)
            if seen is None or at != seen.offset or not behind:
                seen = self._seen[place] = _Seen(at, now, ends[place])
            seen.end = ends[place]
            if behind and now - seen.since_s < self._patience_s:
                moment = _moment(found)
                if moment is None:
                    unknown.append(place)
                else:
                    slow[place] = moment
        if unknown:
            earliest = self._reader.first_since(dict.fromkeys(unknown, 0), timeout_ms=ASK_MS)
            slow |= {place: first[1] for place, first in earliest.items() if first is not None}
        if doubtful := [place for place, moment in slow.items() if moment < oldest]:
            # A partition that was idle continues with new records; a backfill does not.
            of_use = self._reader.first_since(dict.fromkeys(doubtful, int(oldest)), timeout_ms=ASK_MS)
            fresh = {place: new[1] for place, new in of_use.items() if new is not None and new[0] <= self._seen[place].offset}
            slow |= fresh
            doubtful = [place for place in doubtful if place not in fresh]
        self._old = {place: self._old.get(place, now) for place in doubtful}
        slow = {place: moment for place, moment in slow.items() if now - self._old.get(place, now) < self._patience_s}
        return min(slow.values(), default=NO_BOUND) + self._slack_ms


def reached(offsets: Mapping[TopicPartition, tuple[int, float]]) -> dict[TopicPartition, Committed]:
    """Return what to commit for partitions: the offset reached in each and the time of the record there."""
    return {partition: Committed(offset, f"{moment:.0f}") for partition, (offset, moment) in offsets.items()}


def _moment(found: Committed | None) -> float | None:
    """Return the record time that a worker published with an offset; None where there is none."""
    try:
        return None if found is None else float(found.text)
    except (TypeError, ValueError):
        return None
