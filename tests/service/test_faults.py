"""The service under faults: workers killed, stopped and added, brokers restarted; what is found stays what one pass finds."""

import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from detector.testing import traffic
from tests.servers.kafka import LocalBroker
from tests.service.clients import on, on_both
from tests.waiting import wait_for

pytestmark = [pytest.mark.broker, pytest.mark.faults]
QUICK = {"session_seconds": 6.0}  # the least that a broker accepts unless told otherwise


def _kills(rig: Any, log: list[bytes], kills: int, seed: int) -> None:
    """Kill one of two workers again and again while a log comes in, and start it anew under its name."""
    rng = np.random.default_rng(seed)
    workers = {name: rig.start(name) for name in ("one", "two")}
    parts = np.array_split(np.arange(len(log)), kills + 1)
    for part in parts[:-1]:
        rig.produce([log[i] for i in part], pause_s=0.02)
        time.sleep(float(rng.uniform(0.0, 1.0)))
        name = ("one", "two")[int(rng.integers(2))]
        workers[name].kill()
        workers[name] = rig.start(name)
    rig.produce([log[i] for i in parts[-1]])
    rig.wait_done()
    for worker in workers.values():
        worker.end()
    rig.verify(repeats=True)


@on("auto")
def test_killed_worker_comes_back(rig: Any, stolen: list[bytes]) -> None:
    """Workers that are killed at random and started again lose nothing and double nothing."""
    _kills(rig, stolen, kills=3, seed=1)


@on("confluent")
@pytest.mark.slow
@pytest.mark.limit(600)
def test_worker_killed_twenty_times(rig: Any) -> None:
    """Twenty kills lose nothing and double nothing."""
    _kills(rig, traffic(seed=9, innocents=12, thieves=6, queries=300), kills=20, seed=2)


@on("kafka-python")
@pytest.mark.slow
def test_killed_worker_is_replaced(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """When a worker without a name is killed and stays away, another takes its partitions over after its session."""
    rig = rig_at(broker, **QUICK)
    rig.produce(stolen[:800])
    first, second = rig.start(), rig.start()
    rig.wait_done()
    rig.produce(stolen[800:], pause_s=0.02)
    first.kill()
    rig.wait_done()
    second.end()
    rig.verify(repeats=True)


@on("auto")
def test_workers_come_and_go(rig: Any, stolen: list[bytes]) -> None:
    """A worker that joins in the middle of the stream and one that leaves change nothing, and no alert is repeated."""
    first = rig.start()
    rig.produce(stolen[:600])
    rig.wait_done()
    second = rig.start()
    rig.produce(stolen[600:1200], pause_s=0.1)
    rig.wait_done()
    first.end()
    rig.produce(stolen[1200:])
    rig.wait_done()
    second.end()
    rig.verify(repeats=False)


def test_the_client_changes_while_it_works(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """A worker with librdkafka joins one with kafka-python and takes its work over, as in a rolling change of version."""
    rig = rig_at(broker, client="kafka-python")
    first = rig.start()
    rig.produce(stolen[:600])
    rig.wait_done()
    second = rig.start(client="confluent")
    rig.produce(stolen[600:1200], pause_s=0.1)
    rig.wait_done()
    first.end()
    rig.produce(stolen[1200:])
    rig.wait_done()
    second.end()
    rig.verify(repeats=False)


@on("auto")
@pytest.mark.parametrize("how", ["restart", pytest.param("kill", marks=pytest.mark.slow)])
def test_broker_restarts(rig_at: Callable[..., Any], restartable_broker: LocalBroker, stolen: list[bytes], how: str) -> None:
    """A broker that is restarted, or killed and started again, in the middle of the stream costs nothing but time."""
    rig = rig_at(restartable_broker.bootstrap)
    worker = rig.start("one")
    rig.produce(stolen[:700])
    wait_for(lambda: rig.lag() < 500)
    if how == "kill":
        restartable_broker.kill()
        restartable_broker.start()
    else:
        restartable_broker.restart()
    rig.produce(stolen[700:])
    rig.wait_done()
    assert worker.alive
    worker.end()
    rig.verify(repeats=True)


@on("kafka-python")
def test_zombie(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """A worker that stood still until others had its partitions can commit nothing and spoils nothing when it goes on."""
    rig = rig_at(broker, **QUICK)
    zombie = rig.start()
    rig.produce(stolen[:500])
    rig.wait_done()
    rig.produce(stolen[500:900])
    zombie.send(signal.SIGSTOP)
    rig.produce(stolen[900:1200])
    second = rig.start()
    rig.wait_done()
    zombie.send(signal.SIGCONT)
    rig.produce(stolen[1200:], pause_s=0.1)
    rig.wait_done()
    assert zombie.alive
    zombie.end()
    second.end()
    rig.verify(repeats=True)


@on_both()
def test_name_taken(rig: Any, stolen: list[bytes]) -> None:
    """A second process of the same name takes over, and the first ends with a sentence."""
    rig.produce(stolen[:700])
    first = rig.start("one")
    rig.wait_done()
    second = rig.start("one")
    rig.produce(stolen[700:], pause_s=0.1)
    wait_for(lambda: not first.alive)
    assert "ended: another process took over as member 'one'" in first.said()
    rig.wait_done()
    second.end()
    rig.verify(repeats=True)


@on("confluent")
def test_dead_transaction_is_ended(rig: Any, stolen: list[bytes]) -> None:
    """A commit that a dead worker left open does not hold its successor up until it times out."""
    rig.produce(stolen)
    producer = rig.connection.producer(transactional_id=f"{rig.config.kafka.group_id}-dead", transaction_timeout_ms=60_000)
    producer.init_transactions()
    producer.begin_transaction()
    producer.send(rig.topics.state, key=b"never seen", value=b"never seen", partition=0).get(timeout=10)
    started = time.monotonic()
    with rig.thread():
        rig.wait_done()
    assert time.monotonic() - started < 50  # the transaction would end by itself after 60 seconds or more
    producer._sender.force_close()
    producer.close(timeout=1)
    rig.verify(repeats=False)
