"""The saved state of the shards in the state topic: written in transactions, read back only when it is whole.

A transaction covers the changed clients and the offsets reached. When it is committed, the broker marks one partition after the
other, so a reader that sees the offsets may not see the state yet: the state is read to the end that the partition has for
writers, not to the last one that is settled. A worker that died in the middle of a transaction would hold that end open until
its transaction times out, so the new owner of the partition ends it.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError

from detector.errors import ServiceError
from detector.service.connection import Connection
from detector.service.outbox import MOST_IN_FLIGHT, PATIENCE_S, flush
from detector.service.topics import Topics

TRANSACTION_MS = 60_000
QUICK_S = 2.0  # a commit that is only slow is through by then
READ_PATIENCE_S = 2 * TRANSACTION_MS / 1000

log = structlog.get_logger(__name__)


class Archive:
    """Writes and reads the state of partitions; made for one process, which hears a `beat` while it waits."""

    def __init__(self, connection: Connection, topics: Topics, group: str, beat: Callable[[], None]) -> None:
        self._connection = connection
        self._topic = topics.state
        self._beat = beat
        self._prefix = f"{group}-"
        self._id = f"{group}-{uuid4()}"
        self._producer: KafkaProducer | None = None

    def save(
        self, snapshots: Mapping[int, Mapping[tuple[str, str], bytes]], offsets: Mapping[TopicPartition, int], member: Any
    ) -> None:
        """Commit snapshots, by partition, and the offsets reached, as a member of the group, in one transaction.

        Raises `ServiceError` or the client's own error; then nothing was committed, unless the answer of the broker was lost.
        """
        producer = self._producer or self._ready()
        try:
            producer.begin_transaction()
            pending, size = [], 0
            for number, snapshot in snapshots.items():
                for key, data in snapshot.items():
                    packed = msgspec.msgpack.encode(key)
                    pending.append(producer.send(self._topic, key=packed, value=data or None, partition=number))
                    size += len(data)
                    if size > MOST_IN_FLIGHT:
                        _wait(producer, pending, self._beat)
                        size = 0
            _wait(producer, pending, self._beat)
            reached = {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
            producer.send_offsets_to_transaction(reached, member)
            producer.commit_transaction()
        except KafkaError:
            self.close()
            self._ready()  # of the same id, so it ends the transaction that is open
            raise

    def _ready(self) -> KafkaProducer:
        producer = self._connection.producer(transactional_id=self._id, transaction_timeout_ms=TRANSACTION_MS)
        try:
            producer.init_transactions()
        except KafkaError:
            Connection.drop(producer)
            raise
        self._producer = producer
        return producer

    def release(self, number: int) -> None:
        """End the transaction that a former owner of the partition, dead or unaware, has left open there.

        Where the broker does not allow that, the transaction ends by itself, when it times out.
        """
        ours = TopicPartition(self._topic, number)
        admin = self._connection.admin()
        try:
            listed = [entry.transactional_id for entries in admin.list_transactions().values() for entry in entries]
            found = admin.describe_transactions([name for name in listed if name.startswith(self._prefix)])
            held = [name for name, entry in found.items() if entry.state == "Ongoing" and ours in entry.topic_partitions]
        except KafkaError as error:
            log.warning("cannot look for open transactions, waiting for their end", cause=str(error))
            return
        finally:
            admin.close()
        for name in held:
            log.info("ending the transaction of a former owner", partition=number, transaction=name)
            producer = self._connection.producer(transactional_id=name, transaction_timeout_ms=TRANSACTION_MS)
            try:
                producer.init_transactions()
            except KafkaError as error:
                log.warning("cannot end it, waiting for its end", cause=str(error))
            finally:
                Connection.drop(producer)

    def read(self, number: int) -> dict[tuple[str, str], bytes]:
        """Return the state of a partition: of each key the latest committed value.

        Raises `ServiceError` when it cannot be read to its end.
        """
        partition = TopicPartition(self._topic, number)
        reader = self._connection.consumer(max_poll_records=5000, fetch_max_wait_ms=50)
        saved: dict[tuple[str, str], bytes] = {}
        try:
            reader.assign([partition])
            reader.seek_to_beginning(partition)
            end: int | None = None
            moved = time.monotonic()
            released = False
            while end is None or reader.position(partition) < end:
                records = reader.poll(timeout_ms=100).get(partition, ())
                self._beat()
                end = reader.highwater(partition) if end is None else end
                for record in records:
                    key = msgspec.msgpack.decode(record.key, type=tuple[str, str])
                    if record.value is None:
                        saved.pop(key, None)
                    else:
                        saved[key] = record.value
                idle_s = time.monotonic() - moved
                if records:
                    moved = time.monotonic()
                elif idle_s > QUICK_S and not released:
                    self.release(number)
                    released = True
                elif idle_s > READ_PATIENCE_S:
                    raise ServiceError(f"topic {self._topic!r}, partition {number}: the state cannot be read to its end")
            return saved
        finally:
            reader.close()

    def close(self) -> None:
        """Drop what is not committed."""
        if self._producer is not None:
            Connection.drop(self._producer)
            self._producer = None


def _wait(producer: KafkaProducer, pending: list[Any], beat: Callable[[], None]) -> None:
    flush(producer, beat)
    for future in pending:
        future.get(timeout=PATIENCE_S)
    pending.clear()
