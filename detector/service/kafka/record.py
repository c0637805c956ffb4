"""A record of Kafka as formats of logs take it."""

from typing import Any

from detector.ingest.formats.decoder import Record


def whole(topic: str, record: Any) -> Record:
    """Return a record that one of the clients read from `topic`, with key, headers and time."""
    return Record(record.value or b"", record.key, record.headers or (), topic, record.timestamp)
