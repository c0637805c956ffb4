"""The HTTP intake in front of a broker, for what servers log over HTTP: what it took is read back as ``kcat -J`` writes it."""

import http.client
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kafka.admin import NewTopic

from detector.config import Config, IntakeSection, KafkaSection
from detector.ingest.formats.decoder import Record
from detector.service.intake import Intake
from detector.service.kafka.connection import Connection
from detector.service.telemetry.metrics import Metrics
from tests.ingest.formats.paired import dumped
from tests.service.ingest.test_formats import consumed

__all__ = ["KEY", "Taken", "intake"]

KEY = "a-long-key"


class Taken:
    """An intake that listens: its address, and the records of its topic."""

    def __init__(self, listening: Intake, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self._http = http.client.HTTPConnection("127.0.0.1", listening.port or 0, timeout=60)
        self.url = f"http://127.0.0.1:{listening.port}/v1/events"

    def post(self, body: bytes, headers: dict[str, str]) -> None:
        """Send one request; it must be taken."""
        self._http.request("POST", "/v1/events", body, {"Authorization": f"Bearer {KEY}", **headers})
        answer = self._http.getresponse()
        said = answer.read()
        assert answer.status == http.HTTPStatus.ACCEPTED, said

    def records(self) -> list[Any]:
        """Return the records that the topic holds now."""
        return consumed(self._connection, self._topic)

    def dump(self, path: Path, begins: bytes = b"") -> Path:
        """Write the records into a file, those whose values begin so."""
        taken = [one for one in self.records() if one.value.startswith(begins)]
        found = [Record(one.value, one.key, one.headers, "predictions", one.timestamp) for one in taken]
        path.write_bytes(b"".join(dumped(record) + b"\n" for record in found))
        return path

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


@contextmanager
def intake(broker: str) -> Iterator[Taken]:
    """Listen, and write to a topic of its own at `broker`."""
    topic = f"taken-{uuid.uuid4().hex[:8]}"
    kafka = KafkaSection(bootstrap_servers=(broker,), input_topics=(topic,))
    config = Config(kafka=kafka, intake=IntakeSection(port=0, api_key=KEY))
    connection = Connection(config.kafka)
    admin = connection.admin()
    admin.create_topics([NewTopic(name=topic, num_partitions=1, replication_factor=1)], wait_for_metadata=True)
    admin.close()
    with Intake(config, Metrics()) as listening:
        taken = Taken(listening, connection, topic)
        try:
            yield taken
        finally:
            taken.close()
