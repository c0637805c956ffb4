"""Conversion of a Kafka record to the record that log formats decode."""

from typing import Any

from kafka import TopicPartition

from detector.ingest.formats.decoder import Record
from detector.service.kafka.producer import RecordOrigin


def whole(partition: TopicPartition, record: Any) -> Record:
    """Return a client's record, read from `partition`, with its key, headers, time and origin."""
    origin = RecordOrigin(partition.topic, partition.partition, record.offset)
    return Record(record.value or b"", record.key, record.headers or (), partition.topic, record.timestamp, origin)
