"""The topics: what is created fits, and what does not fit is said in a sentence each."""

from typing import Any

import pytest
from kafka.admin import NewTopic

from detector.errors import ServiceError
from detector.service.kafka import topics as topics_of
from tests.waiting import wait_for

pytestmark = pytest.mark.broker


def _refused(rig: Any, **options: Any) -> str:
    with rig.admin() as admin, pytest.raises(ServiceError) as refused:
        topics_of.check(admin, rig.topics, **options)
    return str(refused.value)


def test_created_topics_fit(rig: Any) -> None:
    """Topics that were created here pass the check, and are not created again."""
    with rig.admin() as admin:
        assert topics_of.check(admin, rig.topics, inputs=[rig.log]) == rig.partitions
        assert topics_of.create(admin, rig.topics, partitions=2, replication=1) == []


def test_missing_topics(rig_at: Any, broker: str) -> None:
    """Every topic that is missing is named, with what to do; a misspelt input topic, too."""
    rig = rig_at(broker, create=False)
    said = _refused(rig, inputs=[rig.log])
    for name in (*rig.topics.policies(), rig.log):
        assert f"topic {name!r} does not exist" in said
    assert "detector topics create" in said


def test_added_partitions(rig_at: Any, broker: str) -> None:
    """Clients are dealt over the partitions of the state; a keyed log with more is refused, queries with more are not."""
    rig = rig_at(broker, create=False)
    with rig.admin() as admin:
        topics_of.create(admin, rig.topics, partitions=2, replication=1)
        admin.create_partitions({rig.topics.queries: 3})
        admin.create_topics([NewTopic(name=rig.log, num_partitions=5, replication_factor=1)], wait_for_metadata=True)
        assert topics_of.check(admin, rig.topics) == 2
    said = _refused(rig, inputs=[rig.log], keyed=True)
    assert f"topic {rig.log!r} has more partitions than {rig.topics.state!r}, which has 2" in said
    assert "Use another [kafka] prefix and group_id" in said
    assert "keyed takes one input topic" in _refused(rig, inputs=[rig.log, rig.topics.alerts], keyed=True)


def test_state_without_queries(rig_at: Any, broker: str) -> None:
    """State with more partitions than there are events to go with it is refused, with what to do."""
    rig = rig_at(broker, create=False)
    with rig.admin() as admin:
        topics_of.create(admin, rig.topics, partitions=2, replication=1)
        admin.create_partitions({rig.topics.state: 3})
        wait_for(lambda: topics_of.partitions_of(admin, [rig.topics.state]) == {rig.topics.state: 3})
    said = _refused(rig)
    assert f"topic {rig.topics.state!r} has 3 partitions and {rig.topics.queries!r} has only 2" in said
    assert "add partitions; otherwise use another [kafka] prefix" in said


def test_state_that_would_expire(rig_at: Any, broker: str) -> None:
    """A state topic that is not compacted is refused."""
    rig = rig_at(broker, create=False)
    with rig.admin() as admin:
        admin.create_topics([NewTopic(name=rig.topics.state, num_partitions=1, replication_factor=1)], wait_for_metadata=True)
        topics_of.create(admin, rig.topics, partitions=1, replication=1)
    assert f"topic {rig.topics.state!r} has cleanup.policy=delete, it must be compact" in _refused(rig)
