"""What the tests of the service rest on: the log that they write."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from kafka.admin import NewTopic

pytestmark = pytest.mark.broker


def test_a_log_lies_in_kafka_in_the_order_of_its_lines(rig_at: Callable[..., Any], broker: str, stolen: list[bytes]) -> None:
    """Across partitions, by the broker's clock: a stage that reads meanwhile sees no line before an earlier one is there.

    Links are sought in the order in which queries were written, so only then is one pass over the log what it has to find.
    """
    rig = rig_at(broker, partitions=2, create=False)
    topic = NewTopic(
        name=rig.log, num_partitions=2, replication_factor=1, topic_configs={"message.timestamp.type": "LogAppendTime"}
    )
    with rig.admin() as admin:
        admin.create_topics([topic], wait_for_metadata=True)
    rig.produce(stolen)
    numbers = {json.loads(line)["event_id"]: number for number, line in enumerate(stolen)}
    records = [record for found in rig.read(rig.log).values() for record in found]
    placed = sorted((numbers[json.loads(record.value)["event_id"]], record.timestamp) for record in records)
    times = [moment for _, moment in placed]
    assert len(times) == len(stolen)
    assert times == sorted(times)
