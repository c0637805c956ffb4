"""Endings: asked to end, a worker does so within its grace, whatever it waits for, and an outage is survived in peace."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from detector.service.kafka.transaction import transactional
from tests.servers.kafka import LocalBroker
from tests.service.clients import on

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.faults]


@contextmanager
def _open_transaction(rig: Any) -> Iterator[None]:
    """Hold a transaction open on the state, under a name that is not ours to end."""
    writer = transactional(rig.connection, "somebody-else", lambda: None)
    writer.begin()
    for number in range(rig.partitions):
        writer.send(rig.topics.state, b"never seen", b"never seen", partition=number).wait(60)
    try:
        yield
    finally:
        writer.drop()


@on("confluent")
def test_asked_while_the_broker_is_away(
    rig_at: Callable[..., Any], restartable_broker: LocalBroker, stolen: list[bytes]
) -> None:
    """A worker says that the broker is away and when it tries again, less often each time, and ends when it is asked to."""
    rig = rig_at(restartable_broker.bootstrap)
    rig.produce(stolen[:300])
    worker = rig.start()
    rig.wait_done()
    rig.forget_watchers()
    restartable_broker.kill()
    rig.wait_until(lambda: '"in_seconds": 4.0' in worker.said())
    assert worker.said().count("Kafka is away, trying again") >= 3
    assert "nothing listens there" in worker.said()
    worker.end()


@on("confluent")
def test_asked_in_the_middle_of_a_commit(
    rig_at: Callable[..., Any], restartable_broker: LocalBroker, stolen: list[bytes], silenced: Callable[..., Any]
) -> None:
    """A worker whose broker falls silent while it commits ends when it is asked to; the next one has lost nothing."""
    rig = rig_at(restartable_broker.bootstrap)
    worker = rig.start(checkpoint_seconds=0.01)
    rig.produce(stolen[:700])
    rig.wait_until(lambda: rig.lag() < 400)
    rig.forget_watchers()
    with silenced(restartable_broker):
        worker.end()
    rig.produce(stolen[700:])
    second = rig.start()
    rig.wait_done()
    second.end()
    rig.verify(repeats=True)


@on("kafka-python")
def test_asked_in_the_middle_of_a_restore(rig: Any, stolen: list[bytes]) -> None:
    """A worker that waits for the state of its partitions is not ready, lives, and ends when it is asked to."""
    rig.produce(stolen[:300])
    with rig.thread():
        rig.wait_done()
    with _open_transaction(rig):
        with rig.thread() as worker:
            beat = worker.status().ticked_s
            rig.wait_until(lambda: worker.status().ticked_s > beat + 3)
            assert not worker.status().ready
            assert worker.status().partitions == ()
        process = rig.start()
        rig.wait_until(lambda: "restoring state" in process.said())
        process.end()


@on("confluent")
def test_asked_at_the_start(rig_at: Callable[..., Any], restartable_broker: LocalBroker, stolen: list[bytes]) -> None:
    """A worker that finds no broker when it starts says so and waits; it begins when there is one, and ends when asked to."""
    rig = rig_at(restartable_broker.bootstrap)
    restartable_broker.kill()
    workers = [rig.start(), rig.start()]
    for worker in workers:
        rig.wait_until(lambda said=worker.said: "nothing listens there" in said())
    workers[0].end()
    restartable_broker.start()
    rig.produce(stolen[:300])
    rig.wait_done()
    workers[1].end()
