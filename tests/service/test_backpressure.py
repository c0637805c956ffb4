"""Backpressure: paused partitions keep nobody from ending, and an outage, however long, fills no memory."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.service.kafka.codec import decode
from detector.testing import Events
from tests.servers.kafka import LocalBroker
from tests.service.clients import on

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.faults]
# One record on its way is too many already, and it takes a second.
TIGHT = {
    "detector.service.kafka.producer.MOST_IN_FLIGHT": 1,
    "detector.service.kafka.producer.FAR_BEYOND": 10**9,
    "detector.service.detect.stage.MOST_RECORDS": 50,
    "detector.service.detect.stage.LINGER_MS": 1000,
}
PAUSED = "Kafka takes the results slowly: partitions paused"
CUT_SHORT = "ended without a last commit"
MIB = 1024 * 1024


@on("confluent")
def test_asked_while_partitions_are_paused(rig: Any, stolen: list[bytes]) -> None:
    """A worker whose partitions are paused commits and ends in its time; the next one repeats nothing and loses nothing."""
    rig.produce(stolen)
    worker = rig.start(limits=TIGHT, checkpoint_seconds=60.0)
    rig.wait_until(lambda: PAUSED in worker.said())
    worker.end()
    assert CUT_SHORT not in worker.said()
    second = rig.start()
    rig.wait_done()
    second.end()
    rig.verify(repeats=False)


@on("kafka-python")
def test_asked_while_partitions_are_paused_and_the_broker_is_silent(
    rig_at: Callable[..., Any], restartable_broker: LocalBroker, stolen: list[bytes], silenced: Callable[..., Any]
) -> None:
    """Where the results will not be taken either, the worker ends all the same, and the next one does its work again."""
    rig = rig_at(restartable_broker.bootstrap)
    rig.produce(stolen)
    worker = rig.start(limits=TIGHT, checkpoint_seconds=60.0)
    rig.wait_until(lambda: PAUSED in worker.said())
    with silenced(restartable_broker):
        worker.end()
    second = rig.start()
    rig.wait_done()
    second.end()
    rig.verify(repeats=True)


@on("confluent")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what memory a process has")
def test_an_outage_fills_no_memory(rig_at: Callable[..., Any], restartable_broker: LocalBroker) -> None:
    """While the broker is away, in the middle of a log of large records, neither memory nor threads grow with the attempts."""
    rig = rig_at(restartable_broker.bootstrap, session_seconds=6.0)
    rng = np.random.default_rng(0)
    events = Events("wide")
    lines = [events.line(f"client-{i % 20}", rng.random(500).tolist(), 1) for i in range(3000)]
    rig.produce(lines)
    worker = rig.start()
    rig.wait_until(lambda: rig.lag() < len(lines))
    rig.forget_watchers()
    time.sleep(1.0)  # until the first commit is through: a broker that dies in the middle of one is another test's matter
    restartable_broker.kill()
    seen = []
    for attempts in (2, 3, 4, 5):
        rig.wait_until(lambda until=attempts: worker.said().count("Kafka is away, trying again") >= until)
        seen.append(_held(worker.number))
    memory, threads = zip(*seen, strict=True)
    assert max(memory) < memory[0] + 64 * MIB, f"MiB: {[size // MIB for size in memory]}"
    assert max(threads) <= threads[0]
    restartable_broker.start()
    rig.wait_done()
    worker.end()
    written = [record.value for records in rig.read(rig.topics.queries).values() for record in records]
    found = {event for batch in decode(written, [0] * len(written))[0] for event in batch.event_id}
    assert found == {json.loads(line)["event_id"] for line in lines}


def _held(process: int) -> tuple[int, int]:
    """Return the bytes of memory that a process has, and its threads."""
    told = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    figures = dict(re.findall(r"^(VmRSS|Threads):\s+(\d+)", told, re.MULTILINE))
    return int(figures["VmRSS"]) * 1024, int(figures["Threads"])
