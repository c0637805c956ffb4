"""A record on its way to Kafka, and the smaller forms of it that may have to be sent instead.

A topic takes records up to a size (``max.message.bytes``), which an operator may lower. A record beyond it is refused each time
it is sent, and the client's idempotent producer is of no use any more after that. So the sizes are asked for beforehand.
"""

from collections.abc import Sequence
from typing import NamedTuple

import structlog
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from detector.errors import ServiceError
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics

Header = tuple[str, bytes]
USUAL_LIMIT = 1_048_588  # Kafka's own, where a topic has no other
SURROUNDINGS = 512  # bytes of a batch and a record beside key, value and headers; generous

log = structlog.get_logger(__name__)


class Form(NamedTuple):
    """What to send, and where to; without `partition` the key decides on it."""

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
        """Bytes that a topic must take at least, so that this passes even if it cannot be compressed."""
        headers = sum(len(name) + len(text) for name, text in self.headers)
        return self.size + len(self.key or b"") + headers + SURROUNDINGS


def is_too_large(error: BaseException | None) -> bool:
    """Tell whether a record failed for its size."""
    return isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError)


def limits_of(connection: Connection, topics: Topics) -> dict[str, int]:
    """Return how large a record each topic takes; where that may not be asked, what it takes as we set it up."""
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
        log.debug("how large records may be is not known", cause=str(error))
        return limits
