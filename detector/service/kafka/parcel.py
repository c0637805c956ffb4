"""A record to be sent to Kafka, and the smaller forms that may be sent instead.

A topic accepts records up to a size (``max.message.bytes``), which an operator may lower. A larger record is refused every
time, and the client's idempotent producer cannot be used after that. So the limits are requested beforehand.
"""

from collections.abc import Sequence
from typing import NamedTuple

import structlog
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from detector.errors import ServiceError
from detector.service.kafka.clients.protocol import Header
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics

USUAL_LIMIT = 1_048_588  # bytes; Kafka's default max.message.bytes
SURROUNDINGS = 512  # bytes of a batch and a record besides key, value and headers; an upper bound

log = structlog.get_logger(__name__)


class Form(NamedTuple):
    """A record and its topic; without `partition` the key selects the partition."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[Header] = ()
    partition: int | None = None

    @property
    def size(self) -> int:
        """Bytes of its value."""
        return len(self.value or b"")

    @property
    def whole_size(self) -> int:
        """The max.message.bytes that this record needs if it cannot be compressed."""
        return whole_size(self.size, self.key, self.headers)


def whole_size(size: int, key: bytes | None, headers: Sequence[Header]) -> int:
    """Return the max.message.bytes that a record with a value of `size` bytes needs if it cannot be compressed."""
    own = sum(len(name) + len(text) for name, text in headers) if headers else 0
    return size + (len(key) if key else 0) + own + SURROUNDINGS


def limits_of(connection: Connection, topics: Topics) -> dict[str, int]:
    """Return the largest record of each topic; without permission to ask, the limit that `topics create` sets."""
    limits = {name: int(settings.get("max.message.bytes", USUAL_LIMIT)) for name, settings in topics.policies().items()}
    try:
        admin = connection.admin()
        try:
            resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in limits]
            described = admin.describe_configs(resources, config_filter="all")["topic"]
            return limits | {name: int(found["max.message.bytes"]["value"]) for name, found in described.items()}
        finally:
            admin.close()
    except (KafkaError, ServiceError, KeyError, TypeError, ValueError) as error:
        log.debug("the topics' max.message.bytes are not known", cause=str(error))
        return limits
