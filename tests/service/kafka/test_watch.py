"""Topics that are deleted under a running service are named, wherever they are needed, and the service goes on with them."""

from collections.abc import Callable
from typing import Any

import pytest
from kafka.admin import NewTopic

from detector.config import KafkaSection
from detector.service.kafka import watch
from detector.service.kafka.connection import Connection
from detector.service.kafka.watch import TopicMonitor

pytestmark = pytest.mark.broker


def test_what_is_missing_is_named_and_what_is_back_is_not(broker: str, fresh_topic: Callable[[str], str]) -> None:
    """One topic, two topics, none; and while the broker cannot be asked, what was known stands."""
    names = [fresh_topic(name) for name in ("one", "two", "three")]
    connection = Connection(KafkaSection(bootstrap_servers=(broker,)))
    admin = connection.admin()
    admin.create_topics([NewTopic(name=name, num_partitions=1, replication_factor=1) for name in names], wait_for_metadata=True)
    seen = TopicMonitor(connection, names, every_s=3600.0)
    try:
        seen.check()
        assert seen.trouble is None
        admin.delete_topics([names[0]])
        _look_until(seen, lambda told: told is not None and names[0] in told and names[1] not in told)
        admin.delete_topics([names[1]])
        _look_until(seen, lambda told: told is not None and "topics" in told and names[0] in told and names[1] in told)
        admin.create_topics(
            [NewTopic(name=name, num_partitions=1, replication_factor=1) for name in names[:2]], wait_for_metadata=True
        )
        _look_until(seen, lambda told: told is None)
    finally:
        seen.close()
        admin.close()


def _look_until(seen: TopicMonitor, holds: Callable[[str | None], bool]) -> None:
    for _ in range(1000):
        seen.check()
        if holds(seen.trouble):
            return
    pytest.fail(f"it says {seen.trouble!r}")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["decisions", "input"])
def test_a_worker_names_a_topic_that_is_gone(
    rig: Any, stolen: list[bytes], monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Also one that nothing is written to at the time, in what its health says, and without ending for it."""
    monkeypatch.setattr(watch, "EVERY_S", 0.2)
    monkeypatch.setattr(TopicMonitor.__init__, "__defaults__", (0.2,))
    rig.produce(stolen[:100])
    name = rig.topics.decisions if which == "decisions" else rig.config.kafka.input_topics[0]
    with rig.thread() as worker:
        rig.wait_done()
        assert name not in (worker.status().degraded or "")
        admin = rig.connection.admin()
        admin.delete_topics([name])
        admin.close()
        rig.wait_until(lambda: name in (worker.status().degraded or ""))
        assert "not exist any more" in worker.status().degraded
