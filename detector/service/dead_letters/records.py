"""Dead-letter records in their topic: the latest of them, or all in the order in which they were written.

A dead-letter record holds the bytes of the refused record. Its headers hold the reason, the origin and the key of that record;
the key's header is missing where the record had no key.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

from kafka import TopicPartition
from kafka.errors import KafkaError
from rich.table import Table
from rich.text import Text

from detector.config import Config
from detector.contracts.dead_letter import DeadLetter, Reason
from detector.contracts.moment import LAST_MS, rfc3339
from detector.errors import ServiceError
from detector.names import printable
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import SOURCE_HEADER, SOURCE_KEY, RecordOrigin
from detector.service.kafka.topics import Topics, partitions_of

REASONS: tuple[str, ...] = get_args(Reason)
LONGEST_NUMBER = 19  # digits, of an offset
POLL_MS = 500
PATIENCE_POLLS = 60
AHEAD = 200  # records per poll, so at most as many of each partition are in memory


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead-letter record in its topic; `origin` is None where the headers do not name it."""

    time_ms: int
    reason: str
    detail: str
    key: bytes | None
    record: bytes
    cut: bool
    origin: RecordOrigin | None
    version: str
    at: RecordOrigin
    headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def source(self) -> str:
        """Topic and partition that the record came from."""
        return "unknown" if self.origin is None else f"{self.origin.topic}-{self.origin.partition}"

    @property
    def moment(self) -> tuple[int, int, int]:
        """The sort key: the time of writing, then partition and offset for records of the same millisecond."""
        return (self.time_ms, self.at.partition, self.at.offset)

    def to_dict(self) -> dict[str, Any]:
        """Return the contract's fields, and where and when it was written; `line` is the source's offset plus one."""
        line, index = (1, 0) if self.origin is None else (self.origin.offset + 1, self.origin.index)
        reason: Any = self.reason if self.reason in REASONS else "schema"
        return {
            **DeadLetter.of(self.source, line, reason, self.detail, self.record, index).model_dump(mode="json"),
            "failed_at": rfc3339(self.time_ms),
            "detector_version": self.version,
            "dead_letter": f"{self.at.topic}-{self.at.partition}@{self.at.offset}",
        }


def latest(config: Config, limit: int) -> list[StoredDeadLetter]:
    """Return the latest dead letters, at most `limit`, the oldest of them first.

    The order is that of the time they were written, in milliseconds; within one, that of partition and offset.
    Raises `ServiceError` when the topic does not exist or cannot be read.
    """
    with reading(config, Connection(config.kafka)) as (consumer, partitions):
        ends = consumer.end_offsets(partitions)
        begins = consumer.beginning_offsets(partitions)
        starts = {partition: max(begins[partition], ends[partition] - limit) for partition in partitions}
        return list(deque(dead_letters_between(consumer, starts, ends), maxlen=limit))


def table(dead_letters: Sequence[StoredDeadLetter]) -> Table:
    """Return dead letters as a table for people."""
    shown = Table(box=None, pad_edge=False)
    for name in ("failed at", "reason", "from", "record", "detail"):
        shown.add_column(name, no_wrap=name != "detail", overflow="fold")
    for dead_letter in dead_letters:
        start = dead_letter.record[:32].decode(errors="replace")
        shown.add_row(
            rfc3339(dead_letter.time_ms),
            Text(printable(dead_letter.reason)),
            Text(
                printable(
                    dead_letter.source if dead_letter.origin is None else f"{dead_letter.source}@{dead_letter.origin.offset}",
                    300,
                )
            ),
            Text(f"{len(dead_letter.record):,} B: {''.join(c if c.isprintable() else '·' for c in start)}"),
            Text(printable(dead_letter.detail, 1000)),
        )
    return shown


@contextmanager
def reading(config: Config, connection: Connection, group: str | None = None) -> Iterator[tuple[Any, list[TopicPartition]]]:
    """Open a consumer that is assigned all partitions of the dead letters; with `group` it may commit offsets there.

    Raises `ServiceError` when the topic does not exist or cannot be read.
    """
    topic = Topics.under(config.kafka.prefix).dead_letters
    try:
        admin = connection.admin()
        try:
            count = partitions_of(admin, [topic]).get(topic)
        finally:
            admin.close()
        if count is None:
            raise ServiceError(f"topic {topic!r} does not exist: create it with `detector topics create`")
        consumer = connection.consumer(group=group, max_poll_records=AHEAD, fetch_max_wait_ms=50)
        try:
            partitions = [TopicPartition(topic, number) for number in range(count)]
            consumer.assign(partitions)
            yield consumer, partitions
        finally:
            consumer.close(autocommit=False)
    except KafkaError as error:
        raise connection.failure(error, f"topic {topic!r} cannot be read") from error


def dead_letters_between(
    consumer: Any, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
) -> Iterator[StoredDeadLetter]:
    """Yield the dead letters from `starts` up to `ends`, ordered by the time they were written.

    Only partitions with nothing left in memory are fetched, so memory holds at most `AHEAD` records a partition. Raises
    `ServiceError` when the broker stays silent.
    """
    for partition, start in starts.items():
        consumer.seek(partition, start)
    waiting: dict[TopicPartition, deque[StoredDeadLetter]] = {partition: deque() for partition in starts}
    silent = 0
    while True:
        lacking = [place for place in starts if not waiting[place] and consumer.position(place) < ends[place]]
        if not lacking:
            heads = [(held[0].moment, place) for place, held in waiting.items() if held]
            if not heads:
                return
            yield waiting[min(heads)[1]].popleft()
            continue
        consumer.pause(*(place for place in starts if place not in lacking))
        consumer.resume(*lacking)
        polled = consumer.poll(timeout_ms=POLL_MS)
        silent = 0 if polled else silent + 1
        if silent > PATIENCE_POLLS:
            raise ServiceError("the dead letters cannot be read to their end: the broker does not answer")
        for place, records in polled.items():
            waiting[place].extend(_dead_letter(place, record) for record in records if record.offset < ends[place])


def _dead_letter(partition: TopicPartition, record: Any) -> StoredDeadLetter:
    raw = dict(record.headers or ())
    headers = {name: (value or b"").decode(errors="replace") for name, value in raw.items()}
    place = [headers.get(f"source_{name}", "") for name in ("topic", "partition", "offset")]
    whole = bool(place[0]) and all(number.isdecimal() and len(number) <= LONGEST_NUMBER for number in place[1:])
    return StoredDeadLetter(
        time_ms=min(max(record.timestamp, 0), LAST_MS),  # the writer of a record chooses its timestamp, so it may be anything
        reason=headers.get("reason", "unknown"),
        detail=headers.get("detail", ""),
        key=(raw[SOURCE_KEY] or b"") if SOURCE_KEY in raw else None,
        record=record.value or b"",
        cut="cut_from_bytes" in raw,
        origin=RecordOrigin(place[0], int(place[1]), int(place[2]), _index(headers)) if whole else None,
        version=headers.get("detector_version", "unknown"),
        at=RecordOrigin(partition.topic, partition.partition, record.offset),
        headers=tuple(
            (name.removeprefix(SOURCE_HEADER), value or b"")
            for name, value in record.headers or ()
            if name.startswith(SOURCE_HEADER)
        ),
    )


def _index(headers: Mapping[str, str]) -> int:
    text = headers.get("source_index", "")
    return int(text) if text.isdecimal() and len(text) <= LONGEST_NUMBER else 0


def by_origin(dead_letters: Sequence[StoredDeadLetter]) -> list[StoredDeadLetter]:
    """Return dead letters in the order of the records they were made of."""

    def place(dead_letter: StoredDeadLetter) -> tuple[str, int, int, int]:
        origin = dead_letter.origin or dead_letter.at
        return (origin.topic, origin.partition, origin.offset, origin.index)

    return sorted(dead_letters, key=place)
