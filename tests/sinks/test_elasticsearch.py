"""Elasticsearch as a delivery: what becomes of records that are several documents, of which a part is taken."""

import uuid
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from detector.config import ElasticsearchSection
from detector.contracts import to_json
from detector.errors import RetryableError
from detector.sinks.delivery import DeliveryBatch
from detector.sinks.elastic import bulk
from detector.sinks.elastic.install import install
from detector.sinks.elasticsearch import of_table
from detector.sinks.message import Message
from detector.sinks.receiver import DeliveryRecord, Receiver
from detector.sinks.registry import receiver
from detector.sinks.sample import sample_alert


@pytest.fixture
def namespace(elastic: str) -> str:
    """Return a namespace that no other test uses, on a server where everything is installed."""
    with Elasticsearch(elastic) as client:
        install(client)
    return f"t{uuid.uuid4().hex[:8]}"


def ready(url: str, namespace: str) -> Receiver:
    """Return the receiver that `[elasticsearch]` defines."""
    return receiver(of_table(ElasticsearchSection(hosts=(url,), namespace=namespace, timeout_seconds=30)))


def messages(made: Receiver, *records: bytes) -> list[Message]:
    """Return what the receiver is sent of alerts."""
    return [message for record in records if (message := made.message(DeliveryRecord("alert", record))) is not None]


def alert(name: str) -> bytes:
    """Return an alert, of which two documents are made."""
    return to_json(sample_alert(alert_id=name))


def test_what_is_left_is_counted_once(
    elastic: str, namespace: str, faulty_proxy: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests end within a record now and then: each of its documents is written, and counted, once."""
    monkeypatch.setattr(bulk, "CHUNK", 3)
    proxy = faulty_proxy(elastic)
    turns = count()
    proxy.fault = lambda _method, path: 429 if path.startswith("/_bulk") and next(turns) % 2 == 1 else None
    made = ready(proxy.url, namespace)
    load = DeliveryBatch(messages(made, *(alert(f"a{i}") for i in range(10))))
    way = made.open()
    attempts = 0
    while load.left:
        attempts += 1
        try:
            load.push(way, lambda message, why: pytest.fail(f"{message.id}: {why}"))
        except RetryableError:
            assert load.left
    way.close()
    assert attempts > 3
    assert (load.delivered, load.repeated) == (20, 0)


def test_a_record_of_which_one_document_is_refused(elastic: str, namespace: str) -> None:
    """It is refused, once, with the reason; its other document and the other records are written."""
    made = ready(elastic, namespace)
    poison = alert("poison").replace(b'"203.0.113.7"', b'"nowhere"')
    load = DeliveryBatch(messages(made, alert("a"), poison, alert("b")))
    refused: list[tuple[str, str]] = []
    way = made.open()
    load.push(way, lambda message, why: refused.append((message.id, why)))
    way.close()
    assert [name for name, _ in refused] == ["poison"]
    assert "document_parsing_exception" in refused[0][1]
    assert (load.delivered, load.repeated, load.left) == (5, 0, [])


def test_a_doubt_is_looked_into(elastic: str, namespace: str) -> None:
    """After a rollover what was written is not written again where it is doubted, and by a way that has just begun."""
    made = ready(elastic, namespace)
    way = made.open()
    DeliveryBatch(messages(made, alert("a"))).push(way, lambda *_: None)
    DeliveryBatch(messages(made, alert("b"))).push(way, lambda *_: None)  # nothing is there: the doubt is gone
    with Elasticsearch(elastic) as client:
        for stream in ("logs-detector.alert", "metrics-detector.client"):
            client.indices.rollover(alias=f"{stream}-{namespace}")
            client.indices.refresh(index=f"{stream}-{namespace}")
    way.doubt()
    for each in (way, made.open()):
        again = DeliveryBatch(messages(made, alert("a"), alert("b")))
        again.push(each, lambda *_: None)
        assert (again.delivered, again.repeated) == (0, 4)
        each.close()
