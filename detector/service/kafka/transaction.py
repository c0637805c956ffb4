"""Transactions: bounded waits, and aborting transactions that dead owners left open.

The clients may wait for the broker without limit when they send offsets and when they commit a transaction. Here each wait has
a limit, and calls `beat` so that health checks can tell waiting from hanging. A worker that dies between the two steps leaves
its transaction open. Offsets and state in it stay unreadable until it times out after a minute. So the new owner of a partition
aborts it, by starting a writer under the transactional id of the dead owner.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial

import structlog
from kafka import TopicPartition
from kafka.errors import KafkaError

from detector.errors import NoAnswerError, ServiceError
from detector.service.kafka.clients.protocol import Member, TransactionalWriter
from detector.service.kafka.connection import Connection

TRANSACTION_MS = 60_000
COMMIT_PATIENCE_S = 45.0  # less than `TRANSACTION_MS`, so that we give up before the broker does
SLICE_S = 1.0

log = structlog.get_logger(__name__)


def transactional(connection: Connection, name: str, beat: Callable[[], None]) -> TransactionalWriter:
    """Return a writer that is ready for transactions under `name`; an open transaction under that name is aborted.

    Raises `ServiceError`, `NoAnswerError` after `COMMIT_PATIENCE_S`.
    """
    writer = connection.transactional_writer(name, TRANSACTION_MS)
    try:
        _wait(partial(writer.start, SLICE_S), beat, "taken the name of our transactions")
    except BaseException:
        writer.drop()
        raise
    return writer


def commit(
    writer: TransactionalWriter, offsets: Mapping[TopicPartition, int], member: Member, beat: Callable[[], None]
) -> None:
    """Commit the open transaction with these offsets, as a member of the group.

    Raises `BrokerError`, `NoAnswerError` after `COMMIT_PATIENCE_S`; whether it was committed is then unknown.
    """
    _wait(partial(writer.add_offsets, offsets, member, SLICE_S), beat, "taken our offsets")
    _wait(partial(writer.commit, SLICE_S), beat, "committed")


def _wait(step: Callable[[], bool], beat: Callable[[], None], what: str) -> None:
    until = time.monotonic() + COMMIT_PATIENCE_S
    while not step():
        beat()
        if time.monotonic() > until:
            raise NoAnswerError(f"the broker has not {what} within {COMMIT_PATIENCE_S:g} seconds")


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
            transactional(connection, name, beat).drop()
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
