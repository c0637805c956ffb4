"""The state store: the shards' state in the state topic, written in transactions and read back only as a whole.

A transaction covers the changed clients, the mark of each partition, and the offsets. On a commit the broker marks one
partition after the other, so a reader that sees the offsets may not see the state yet. The state is therefore read up to the
high watermark, not up to the last stable offset. A worker that died in a transaction would block that read until the
transaction times out, so the new owner of the partition aborts it.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from uuid import uuid4

import structlog
from kafka import TopicPartition

from detector.errors import FatalError, RecordTooLargeError, ServiceError, SnapshotError
from detector.service.kafka.clients.protocol import Delivery, Member, TransactionalWriter
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import MOST_IN_FLIGHT, settle
from detector.service.kafka.topics import LARGEST_RECORD, Topics
from detector.service.kafka.transaction import COMMIT_PATIENCE_S, TRANSACTION_MS, commit, release, transactional
from detector.service.state.codec import (
    LEAST_PART_BYTES,
    PART_BYTES,
    Key,
    State,
    StateReader,
    StateRecord,
    mark_record,
    records_of,
    sealed,
)
from detector.service.state.seal import Seal

QUICK_S = 2.0  # a slow commit has ended by then; a transaction still open has a dead owner
READ_PATIENCE_S = 2 * TRANSACTION_MS / 1000
TELL_S = 5.0
POLL_MS = 100

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is saved of a partition: the clients that changed, and the offset reached."""

    snapshot: Mapping[Key, bytes]
    offset: int


class StateStore:
    """Writes and reads the state of partitions; one per process. It calls `beat` while a read waits.

    `partitions` is the number over which clients are spread, `deployment` names the settings. Every record is written with the
    `seal`, and records without a valid one are not read.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Topics,
        group: str,
        partitions: int,
        seal: Seal,
        beat: Callable[[], None],
        deployment: str = "",
    ) -> None:
        self._connection = connection
        self._seal = seal
        self._topic = topics.state
        self._partitions = partitions
        self._deployment = deployment
        self._beat = beat
        self._prefix = f"{group}-"
        self._id = f"{group}-{uuid4()}"
        self._writer: TransactionalWriter | None = None
        self._closed = False
        self._parts: dict[int, dict[Key, int]] = {}
        self._part_bytes = PART_BYTES

    def save(self, checkpoints: Mapping[TopicPartition, Checkpoint], member: Member, beat: Callable[[], None]) -> None:
        """Commit the checkpoints of partitions, as a member of the group, in one transaction; `beat` may raise to end it.

        May run in parallel with everything but another `save`. Raises `ServiceError`; then nothing
        was committed, unless the broker's response was lost.
        """
        writer = self._writer or self._open(beat)
        try:
            writer.begin()
            for partition, checkpoint in checkpoints.items():
                self._send(writer, partition.partition, checkpoint, beat)
            commit(writer, {partition: point.offset for partition, point in checkpoints.items()}, member, beat)
        except ServiceError as error:
            self._drop()
            if not self._closed:
                self._open(beat)  # which aborts the open transaction
            if isinstance(error, RecordTooLargeError):
                raise self._cut_smaller() from error
            raise

    def _cut_smaller(self) -> ServiceError:
        """Quarter the size of parts, since the topic refused the present one; return the error to raise."""
        if self._part_bytes <= LEAST_PART_BYTES:
            return FatalError(
                f"topic {self._topic!r} does not take records of {self._part_bytes} bytes: set its max.message.bytes to "
                f"{LARGEST_RECORD}, as `detector topics create` does"
            )
        self._part_bytes //= 4
        return ServiceError(
            f"topic {self._topic!r} does not take records of {4 * self._part_bytes} bytes, continuing with parts of "
            f"{self._part_bytes}: its max.message.bytes should be {LARGEST_RECORD}"
        )

    def _open(self, beat: Callable[[], None]) -> TransactionalWriter:
        writer = self._writer = transactional(self._connection, self._id, beat)
        if self._closed:
            self._drop()
            raise ServiceError("the state store was closed while its writer was opened")
        return writer

    def _send(self, writer: TransactionalWriter, number: int, checkpoint: Checkpoint, beat: Callable[[], None]) -> None:
        pending: list[Delivery] = []
        size = 0
        for record in self._records(number, checkpoint):
            key, value, headers = sealed(record, self._seal, number)
            beat()
            pending.append(writer.send(self._topic, key, value, headers, number))
            size += len(value or b"")
            if size > MOST_IN_FLIGHT:
                settle(writer, pending, beat, COMMIT_PATIENCE_S)
                size = 0
        settle(writer, pending, beat, COMMIT_PATIENCE_S)

    def _records(self, number: int, checkpoint: Checkpoint) -> Iterator[StateRecord]:
        parts = self._parts.setdefault(number, {})
        yield mark_record(checkpoint.offset, self._partitions, self._deployment)
        for key, value in checkpoint.snapshot.items():
            records = records_of(key, value, before=parts.pop(key, 1), part_bytes=self._part_bytes)
            if (count := sum(record.value is not None for record in records)) > 1:
                parts[key] = count
            yield from records

    def release(self, number: int) -> None:
        """Abort the transactions that former owners of the partition left open there."""
        release(self._connection, self._prefix, TopicPartition(self._topic, number), self._beat)

    def read(self, number: int, stopping: Callable[[], bool]) -> State | None:
        """Return the state of a partition: the latest committed value of each key. None when it was stopped meanwhile.

        Raises `ServiceError` when it cannot be read to its end, `SnapshotError` when the records are not a valid state.
        """
        partition = TopicPartition(self._topic, number)
        reader = self._connection.reader(max_poll_records=5000, fetch_max_wait_ms=50)
        reading = StateReader(self._seal, number)
        count = 0
        try:
            reader.assign([partition])
            end: int | None = None
            moved = logged = time.monotonic()
            released = False
            while end is None or (reader.position(partition) or 0) < end:
                if stopping():
                    return None
                records = reader.poll(timeout_ms=POLL_MS).get(partition, ())
                self._beat()
                end = reader.highwater(partition) if end is None else end
                for record in records:
                    reading.take(record.key, record.value, record.headers, record.offset)
                count += len(records)
                now = time.monotonic()
                if now - logged > TELL_S:
                    logged = now
                    at = records[-1].offset + 1 if records else None
                    log.info("restoring state", partition=number, records=count, at=at, end=end)
                if records:
                    moved = now
                elif now - moved > QUICK_S and not released:
                    self.release(number)
                    released = True
                elif now - moved > READ_PATIENCE_S:
                    raise ServiceError(f"topic {self._topic!r}, partition {number}: the state cannot be read to its end")
            state = reading.done()
        except SnapshotError as error:
            raise SnapshotError(f"topic {self._topic!r}, partition {number}: {error}") from error
        finally:
            reader.close(timeout_ms=1000)
        self._parts[number] = state.parts
        return state

    def close(self) -> None:
        """Drop what is not committed and save nothing any more; may be called from any thread."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.drop()
