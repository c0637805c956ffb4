"""Conversion of a Kafka record to the record that log formats decode."""

from typing import Any

from detector.ingest.formats.decoder import Record


def whole(topic: str, record: Any) -> Record:
    """Return a client's record, read from `topic`, with its key, headers and time."""
    return Record(record.value or b"", record.key, record.headers or (), topic, record.timestamp)
