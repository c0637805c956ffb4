"""Dead letters on Kafka: looking at them, and sending them back once their cause is mended.

A dead letter keeps its record's own bytes; headers say why it is there and whence it came. Sending back writes the bytes to
the topic and partition they came from, as a new record: the key is not kept, and the order among clients is lost, so it is for
records that were wrongly refused (a wrong dimension in the configuration, an older version of this service), not for late
ones. What is refused again comes back as a new dead letter; each distinct record is sent once, so going round does not
multiply them.
"""

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, get_args

from kafka import TopicPartition
from kafka.errors import KafkaError
from rich.table import Table
from rich.text import Text

from detector.config import Config
from detector.contracts.dead_letter import DeadLetter, Reason
from detector.contracts.moment import rfc3339
from detector.errors import ConfigError, ServiceError
from detector.service.connection import Connection
from detector.service.outbox import Origin, Outbox
from detector.service.topics import Topics, partitions_of

REASONS: tuple[str, ...] = get_args(Reason)
POLL_MS = 500
PATIENCE_POLLS = 60


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it lies in its topic; `origin` is None where the headers do not tell it."""

    time_ms: int
    reason: str
    detail: str
    record: bytes
    origin: Origin | None
    version: str
    at: Origin

    @property
    def source(self) -> str:
        """Topic and partition that the record came from."""
        return "unknown" if self.origin is None else f"{self.origin.topic}-{self.origin.partition}"

    def to_dict(self) -> dict[str, Any]:
        """Return the contract's fields, and where and when it was written; the line is the source's offset plus one."""
        line = 1 if self.origin is None else self.origin.offset + 1
        reason: Any = self.reason if self.reason in REASONS else "schema"
        return {
            **DeadLetter.of(self.source, line, reason, self.detail, self.record).model_dump(mode="json"),
            "failed_at": rfc3339(self.time_ms),
            "detector_version": self.version,
            "dead_letter": f"{self.at.topic}-{self.at.partition}@{self.at.offset}",
        }


@dataclass(slots=True)
class Replayed:
    """What a replay sent (or would send), by source and reason, and why it left others out."""

    sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeated: int = 0
    homeless: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        sent = [{"topic": topic, "reason": reason, "records": n} for (topic, reason), n in sorted(self.sent.items())]
        return {"sent": sent, "repeated": self.repeated, "homeless": self.homeless}


def latest(config: Config, limit: int) -> list[Letter]:
    """Return the latest dead letters, at most `limit`, the oldest of them first.

    The order is that of the time they were written, in milliseconds; within one, that of partition and offset.
    Raises `ServiceError` when the topic does not exist or cannot be read.
    """
    with _reading(config) as (consumer, partitions):
        ends = consumer.end_offsets(partitions)
        begins = consumer.beginning_offsets(partitions)
        starts = {partition: max(begins[partition], ends[partition] - limit) for partition in partitions}
        found = sorted(
            _read(consumer, starts, ends), key=lambda letter: (letter.time_ms, letter.at.partition, letter.at.offset)
        )
    return list(deque(found, maxlen=limit))


def replay(config: Config, *, reason: str | None = None, dry_run: bool = False) -> Replayed:
    """Send the records of all dead letters, or of those with `reason`, back to where they came from.

    With `dry_run` it only counts. Raises `ConfigError` for a reason that there is none of, `ServiceError` when Kafka cannot be
    read or does not take a record.
    """
    if reason is not None and reason not in REASONS:
        raise ConfigError(f"there is no reason {reason!r}; there are {', '.join(REASONS)}")
    done = Replayed()
    known: set[bytes] = set()
    connection = Connection(config.kafka)
    with _reading(config) as (consumer, partitions):
        ends = consumer.end_offsets(partitions)
        begins = consumer.beginning_offsets(partitions)
        letters = [letter for letter in _read(consumer, begins, ends) if reason in {None, letter.reason}]
    sizes = _sizes(connection, sorted({letter.origin.topic for letter in letters if letter.origin is not None}))
    outbox = None if dry_run else Outbox(connection, Topics.under(config.kafka.prefix))
    try:
        for letter in sorted(letters, key=_order):
            origin = letter.origin
            if origin is None or origin.partition >= sizes.get(origin.topic, 0):
                done.homeless += 1
                continue
            mark = blake2b(origin.topic.encode() + b"\0" + letter.record, digest_size=16).digest()
            if mark in known:
                done.repeated += 1
                continue
            known.add(mark)
            if outbox is not None:
                outbox.send(origin.topic, None, letter.record, partition=origin.partition)
            done.sent[origin.topic, letter.reason] += 1
        if outbox is not None:
            outbox.flush()
    finally:
        if outbox is not None:
            outbox.close()
    return done


def told(done: Replayed, *, dry_run: bool) -> list[str]:
    """Say what a replay did, line by line."""
    verb = "would send" if dry_run else "sent"
    lines = [f"{verb} {count:,} ({reason}) to {topic}" for (topic, reason), count in sorted(done.sent.items())]
    if done.repeated:
        lines.append(f"left out {done.repeated:,}: the same record as another dead letter")
    if done.homeless:
        lines.append(f"left out {done.homeless:,}: the topic or partition they came from is not there")
    return lines or ["there is nothing to send"]


def table(letters: Sequence[Letter]) -> Table:
    """Return dead letters as a table for people."""
    shown = Table(box=None, pad_edge=False)
    for name in ("failed at", "reason", "from", "record", "detail"):
        shown.add_column(name, no_wrap=name != "detail", overflow="fold")
    for letter in letters:
        start = letter.record[:32].decode(errors="replace")
        shown.add_row(
            rfc3339(letter.time_ms),
            letter.reason,
            letter.source if letter.origin is None else f"{letter.source}@{letter.origin.offset}",
            Text(f"{len(letter.record):,} B: {''.join(c if c.isprintable() else '·' for c in start)}"),
            Text(letter.detail),
        )
    return shown


def _order(letter: Letter) -> tuple[str, int, int]:
    origin = letter.origin or letter.at
    return (origin.topic, origin.partition, origin.offset)


def _sizes(connection: Connection, names: list[str]) -> dict[str, int]:
    admin = connection.admin()
    try:
        return partitions_of(admin, names)
    except KafkaError as error:
        raise ServiceError(f"the topics cannot be listed: {error}") from error
    finally:
        admin.close()


@contextmanager
def _reading(config: Config) -> Iterator[tuple[Any, list[TopicPartition]]]:
    """Give a consumer of the dead letters, assigned to all their partitions, and those."""
    connection = Connection(config.kafka)
    topic = Topics.under(config.kafka.prefix).dead_letters
    count = _sizes(connection, [topic]).get(topic)
    if count is None:
        raise ServiceError(f"topic {topic!r} does not exist: create it with `detector topics create`")
    consumer = connection.consumer(max_poll_records=2000, fetch_max_wait_ms=50)
    try:
        partitions = [TopicPartition(topic, number) for number in range(count)]
        consumer.assign(partitions)
        yield consumer, partitions
    except KafkaError as error:
        raise ServiceError(f"topic {topic!r} cannot be read: {error}") from error
    finally:
        consumer.close(autocommit=False)


def _read(consumer: Any, starts: dict[TopicPartition, int], ends: dict[TopicPartition, int]) -> Iterator[Letter]:
    for partition, start in starts.items():
        consumer.seek(partition, start)
    silent = 0
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        polled = consumer.poll(timeout_ms=POLL_MS)
        silent = 0 if polled else silent + 1
        if silent > PATIENCE_POLLS:
            raise ServiceError("the dead letters cannot be read to their end: the broker is silent")
        for partition, records in polled.items():
            yield from (_letter(partition, record) for record in records if record.offset < ends[partition])


def _letter(partition: TopicPartition, record: Any) -> Letter:
    headers = {name: value.decode(errors="replace") for name, value in _pairs(record.headers)}
    place = [headers.get(f"source_{name}", "") for name in ("topic", "partition", "offset")]
    whole = bool(place[0]) and place[1].isdecimal() and place[2].isdecimal()
    return Letter(
        time_ms=record.timestamp,
        reason=headers.get("reason", "unknown"),
        detail=headers.get("detail", ""),
        record=record.value or b"",
        origin=Origin(place[0], int(place[1]), int(place[2])) if whole else None,
        version=headers.get("detector_version", "unknown"),
        at=Origin(partition.topic, partition.partition, record.offset),
    )


def _pairs(headers: Sequence[tuple[str, bytes | None]] | None) -> Iterator[tuple[str, bytes]]:
    return ((name, value or b"") for name, value in headers or ())
