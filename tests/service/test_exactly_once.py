"""The service finds what one pass over its stream finds: nothing lost, nothing doubled, however many work."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from detector.baseline.store import Baseline
from detector.service.kafka.codec import decode
from tests.service.clients import on

pytestmark = [pytest.mark.broker, pytest.mark.faults]


@on("confluent")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_workers_find_what_one_pass_finds(rig: Any, stolen: list[bytes], workers: int) -> None:
    """One, two and three workers publish the alerts and decisions of one pass over each partition."""
    rig.produce(stolen)
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(rig.thread())
        rig.wait_done()
    rig.verify(repeats=False)
    refused = {
        event
        for records in rig.read(rig.topics.dead_letters).values()
        for batch in decode([record.value for record in records], [0] * len(records))[0]
        for event in batch.event_id
    }
    written = Counter(
        event
        for records in rig.read(rig.topics.queries).values()
        for batch in decode([record.value for record in records], [0] * len(records))[0]
        for event in batch.event_id
    )
    # Several that catch up keep in step, so nothing is late but what was written twice since its partition moved.
    assert all(written[event] > 1 for event in refused)


@on("kafka-python")
def test_baseline(
    rig_at: Callable[..., Any], broker: str, generated_baseline: Baseline, make_log: Callable[..., list[bytes]]
) -> None:
    """With a fitted baseline, in a log with all habits, disorder, repeats and strays, the service finds what one pass finds."""
    rig = rig_at(broker, baseline=generated_baseline)
    rig.produce(make_log(7, events=1500, clients=12, disorder=0.0, pauses=0.0))
    with rig.thread(), rig.thread():
        rig.wait_done()
    rig.verify(repeats=False)


@on("confluent")
def test_log_delivered_twice(rig: Any, stolen: list[bytes]) -> None:
    """A log that is delivered twice leads to the alerts and decisions of one delivery."""
    rig.produce(stolen)
    with rig.thread():
        rig.wait_done()
        once = rig.expected()
        rig.produce(stolen)
        rig.wait_done()
    assert rig.expected() == once
    rig.verify(repeats=False)
