"""Transactions: bounded waits, and aborting transactions that dead owners left open.

The client waits for the broker without limit when it sends offsets and when it commits a transaction. Here each wait has a
limit, and calls `beat` so that health checks can tell waiting from hanging. A worker that dies between the two steps leaves its
transaction open. Offsets and state in it stay unreadable until it times out after a minute. So the new owner of a partition
aborts it, by starting a producer under the transactional id of the dead owner.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from detector.errors import ServiceError
from detector.service.kafka.connection import Connection

TRANSACTION_MS = 60_000
COMMIT_PATIENCE_S = 45.0  # less than `TRANSACTION_MS`, so that we give up before the broker does
SLICE_MS = 1000
BATCH_BYTES = 256 * 1024  # one client's state fills the default of 16 KiB, and a batch costs as much as ten records
LINGER_MS = 20

log = structlog.get_logger(__name__)


def transactional(connection: Connection, name: str, beat: Callable[[], None]) -> KafkaProducer:
    """Return a producer that is ready for transactions under `name`; an open transaction under that name is aborted.

    Raises `ServiceError` or the client's own error, `KafkaTimeoutError` after `COMMIT_PATIENCE_S`.
    """
    producer = connection.producer(
        transactional_id=name,
        transaction_timeout_ms=TRANSACTION_MS,
        max_block_ms=SLICE_MS,
        batch_size=BATCH_BYTES,
        linger_ms=LINGER_MS,
    )
    until = time.monotonic() + COMMIT_PATIENCE_S
    try:
        while True:
            try:
                producer.init_transactions()
            except KafkaTimeoutError:
                if time.monotonic() > until:
                    raise
                beat()
            else:
                break
    except BaseException:
        Connection.drop(producer)
        raise
    producer.config["max_block_ms"] = int(COMMIT_PATIENCE_S * 1000)
    return producer


def commit(producer: KafkaProducer, offsets: Mapping[TopicPartition, int], member: Any, beat: Callable[[], None]) -> None:
    """Commit the open transaction with these offsets, as a member of the group.

    Raises the client's own error, `KafkaTimeoutError` after `COMMIT_PATIENCE_S`; whether it was committed is then unknown.
    """
    manager, sender = producer._transaction_manager, producer._sender  # noqa: SLF001  # the public methods wait without limit
    reached = {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
    until = time.monotonic() + COMMIT_PATIENCE_S
    for ask in (lambda: manager.send_offsets_to_transaction(reached, member), manager.begin_commit):
        result = ask()
        sender.wakeup()
        while not result.wait(timeout_ms=SLICE_MS):
            beat()
            if time.monotonic() > until:
                raise KafkaTimeoutError(f"the broker has not committed within {COMMIT_PATIENCE_S:g} seconds")


def release(connection: Connection, prefix: str, partition: TopicPartition, beat: Callable[[], None]) -> None:
    """Abort the open transactions on `partition` whose transactional ids begin with `prefix`.

    Where the broker does not allow that, they end when they time out, after `TRANSACTION_MS`.
    """
    try:
        held = _open_on(connection, prefix, partition)
    except (KafkaError, ServiceError) as error:
        log.warning("cannot list open transactions: waiting for their timeout", cause=str(error))
        return
    for name in held:
        log.info("aborting the transaction of a former owner", partition=partition.partition, transaction=name)
        try:
            Connection.drop(transactional(connection, name, beat))
        except (KafkaError, ServiceError) as error:
            log.warning("cannot abort the transaction: waiting for its timeout", cause=str(error))


def _open_on(connection: Connection, prefix: str, partition: TopicPartition) -> list[str]:
    admin = connection.admin()
    try:
        listed = admin.list_transactions(state_filters=["Ongoing"])
        names = [entry.transactional_id for entries in listed.values() for entry in entries]
        found = admin.describe_transactions([name for name in names if name.startswith(prefix)])
    finally:
        admin.close()
    return [name for name, entry in found.items() if entry.state == "Ongoing" and partition in entry.topic_partitions]
