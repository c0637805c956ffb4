"""Alerts are found in Elasticsearch, those of before and about others are not."""

import json
import time
import uuid
from collections.abc import Iterator

import pytest
from elasticsearch import Elasticsearch

from detector.config import ElasticsearchSection
from detector.contracts import to_json
from detector.contracts.moment import parse_rfc3339
from detector.drill.index import IndexWatch
from detector.errors import ConfigError, ElasticError
from detector.sinks.elastic.documents import documents
from detector.sinks.elastic.install import install
from detector.sinks.sample import sample_alert


@pytest.fixture
def client(elastic: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(elastic) as found:
        install(found)
        yield found


def write(client: Elasticsearch, namespace: str, name: str) -> None:
    made = documents("alert", to_json(sample_alert(alert_id=name)), namespace, "2026-05-04T10:31:07.412Z")[0]
    client.create(index=made.stream, id=made.id, document=json.loads(made.source), refresh=True)


def test_alerts_are_found_once_they_are_searchable(
    elastic: str, client: Elasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once; none about somebody else, and none of before."""
    monkeypatch.setattr("detector.drill.index.EVERY_S", 0.0)
    sample = sample_alert(alert_id="x")
    raised_ms = parse_rfc3339(sample.timestamp)
    section = ElasticsearchSection(hosts=(elastic,), namespace=f"t{uuid.uuid4().hex[:8]}", timeout_seconds=30)
    watches = [
        IndexWatch(section, {sample.user.id}, raised_ms - 1000),
        IndexWatch(section, {"somebody else"}, raised_ms - 1000),
        IndexWatch(section, {sample.user.id}, raised_ms + 1000),
    ]
    try:
        assert [list(watch.poll()) for watch in watches] == [[], [], []]
        write(client, section.namespace, "a1")
        until = time.monotonic() + 30
        while not (seen := list(watches[0].poll())) and time.monotonic() < until:
            time.sleep(0.1)
        (one,) = seen
        assert (one.step, one.id, one.time_ms) == ("indexed", "indexed:a1", raised_ms)
        assert sample.user.id in one.clients
        assert one.queries == sample.detector.queries
        assert [list(watch.poll()) for watch in watches] == [[], [], []]
    finally:
        for watch in watches:
            watch.close()


def test_a_server_that_cannot_be_asked_is_told_before_the_drill() -> None:
    """By its address, or by the setting that lacks."""
    with pytest.raises(ElasticError, match=r"127\.0\.0\.1:9"):
        IndexWatch(ElasticsearchSection(hosts=("http://127.0.0.1:9",)), {"acme"}, 0)
    with pytest.raises(ConfigError, match="hosts is not set"):
        IndexWatch(ElasticsearchSection(), {"acme"}, 0)
