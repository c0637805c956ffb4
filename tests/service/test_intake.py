"""The HTTP intake, with a real broker behind it: what is acknowledged is in Kafka, and what is not says so."""

import gzip
import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka.admin import NewTopic
from pydantic import ValidationError

from detector.config import Config, EngineSection, IntakeSection, KafkaSection
from detector.errors import ConfigError, ServiceError
from detector.service.intake import Intake
from detector.service.kafka.connection import Connection
from detector.service.telemetry.metrics import Metrics
from tests.service.ingest.test_formats import consumed

KEY = "a-long-key"
NOWHERE = "127.0.0.1:1"


def config(address: str, topic: str | None, **intake: Any) -> Config:
    kafka = KafkaSection(bootstrap_servers=(address,), input_topics=() if topic is None else (topic,))
    return Config(
        kafka=kafka, intake=IntakeSection(**{"port": 0, "api_key": KEY} | intake), engine=EngineSection(max_record_bytes=2048)
    )


class Caller:
    """Posts to an intake."""

    def __init__(self, intake: Intake) -> None:
        self.intake = intake

    def post(self, body: bytes, path: str = "/v1/events", **headers: str) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.intake.port or 0, timeout=60)
        try:
            given = {"Authorization": f"Bearer {KEY}"} | {name.replace("_", "-"): text for name, text in headers.items()}
            connection.request("POST", path, body, given)
            answer = connection.getresponse()
            answer.read()
            return answer.status, dict(answer.getheaders())
        finally:
            connection.close()


@pytest.fixture
def caller(broker: str, fresh_topic: Callable[[str], str]) -> Iterator[tuple[Caller, str, Connection]]:
    """Return a caller of an intake that writes to a topic of its own."""
    topic = fresh_topic("taken")
    settings = config(broker, topic)
    connection = Connection(settings.kafka)
    admin = connection.admin()
    admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)], wait_for_metadata=True)
    admin.close()
    with Intake(settings, Metrics()) as intake:
        yield Caller(intake), topic, connection


@pytest.mark.broker
def test_what_is_acknowledged_is_in_kafka(caller: tuple[Caller, str, Connection]) -> None:
    """A plain event, a binary CloudEvent and a compressed batch, each as one record with its attributes."""
    ask, topic, connection = caller
    event = json.dumps({"event_id": "e1"}).encode()
    batch = json.dumps([{"event_id": "e2"}, {"event_id": "e3"}]).encode()
    assert ask.post(event)[0] == 202
    assert ask.post(b'{"instances": [[1]]}', ce_id="c1", ce_type="t", Content_Type="application/json")[0] == 202
    assert ask.post(gzip.compress(batch), "/v1/logs", Content_Encoding="gzip")[0] == 202
    found = consumed(connection, topic)
    assert [record.value for record in found] == [event, b'{"instances": [[1]]}', batch]
    assert dict(found[1].headers) == {"ce_id": b"c1", "ce_type": b"t", "content-type": b"application/json"}


@pytest.mark.broker
def test_what_is_wrong_is_turned_away(caller: tuple[Caller, str, Connection]) -> None:
    """By key, path, size, encoding and emptiness; nothing of it reaches Kafka."""
    ask, topic, connection = caller
    assert ask.post(b"{}", Authorization="Bearer wrong")[0] == 401
    assert ask.post(b"{}", Authorization="", X_API_Key="é")[0] == 401
    assert ask.post(b"{}", "/v1/other")[0] == 404
    assert ask.post(b"x" * 2049)[0] == 413
    assert ask.post(gzip.compress(b"x" * 100_000), Content_Encoding="gzip")[0] == 413
    assert ask.post(gzip.compress(b"xyz")[:-5], Content_Encoding="gzip")[0] == 400
    assert ask.post(b"xyz", Content_Encoding="br")[0] == 415
    assert ask.post(b"  ")[0] == 400
    assert consumed(connection, topic) == []


def test_a_broker_that_is_away_is_said() -> None:
    """The logger is told to send again, and the intake goes on listening."""
    with Intake(config(NOWHERE, "log"), Metrics()) as intake:
        for _ in range(2):
            status, headers = Caller(intake).post(b"{}")
            assert (status, headers["Retry-After"]) == (503, "1")


def test_settings() -> None:
    """Without a topic there is nowhere to write to; without a key it listens on this machine only; -1 is off."""
    with pytest.raises(ConfigError, match=r"\[intake\] topic is not set"):
        Intake(config(NOWHERE, None), Metrics())
    with pytest.raises(ValidationError, match="needs an api_key"):
        IntakeSection(port=0, host="0.0.0.0")  # that is what is refused
    with Intake(config(NOWHERE, "log", port=-1), Metrics()) as intake:
        assert intake.port is None
    with Intake(config(NOWHERE, "log"), Metrics()) as intake, pytest.raises(ServiceError, match="cannot take events"):
        Intake(config(NOWHERE, "log", port=intake.port), Metrics()).__enter__()
