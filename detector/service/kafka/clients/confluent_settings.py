"""librdkafka's settings, for what `[kafka]` says."""

from collections.abc import Callable
from typing import Any, Final

from detector.config import KafkaSection
from detector.distribution import install
from detector.errors import ConfigError
from detector.service.kafka.oauth import Tokens
from detector.service.kafka.topics import LARGEST_RECORD
from detector.service.kafka.unpacking import LARGEST_BATCH

__all__ = ["confluent_kafka", "installed", "of_reader", "of_transactions", "of_writer"]

confluent_kafka: Any
try:
    import confluent_kafka
except ImportError:  # it is an extra
    confluent_kafka = None

FETCH_BYTES: Final = 1024 * 1024
QUEUE_KB: Final = 4 * 1024  # fetched ahead, of all partitions
METADATA_MS: Final = 60_000  # at most, before partitions that were added to a topic are read
DELIVERY_MS: Final = 120_000
WAITING_RECORDS: Final = 1_000_000  # in the client; the writer's caller bounds their bytes, which is reached before
LINGER_MS: Final = 20  # of a transaction: a client's state is large, and a batch costs as much as ten records


def installed() -> bool:
    """Whether librdkafka is there."""
    return confluent_kafka is not None


def _common(section: KafkaSection, tokens: Tokens | None, client_id: str | None) -> dict[str, Any]:
    """Raise `ConfigError` where the client is not installed."""
    if confluent_kafka is None:
        raise ConfigError(f"[kafka] client is confluent, which is not installed: {install('fast')}")
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(section.bootstrap_servers),
        "security.protocol": section.security_protocol,
        "allow.auto.create.topics": False,
        "message.max.bytes": LARGEST_RECORD,
        "reconnect.backoff.max.ms": 1000,
        "log_level": 2,
    }
    if client_id is not None:
        found["client.id"] = client_id
    if section.ca_file is not None:
        found["ssl.ca.location"] = str(section.ca_file)
    if tokens is not None:
        found |= {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": _bearer(tokens)}
    elif section.security_protocol.startswith("SASL"):
        found |= {
            "sasl.mechanism": section.sasl_mechanism,
            "sasl.username": section.username,
            "sasl.password": section.secret(),
        }
    return found


def _bearer(tokens: Tokens) -> Callable[[str], tuple[str, float, str, dict[str, str]]]:
    def told(_: str) -> tuple[str, float, str, dict[str, str]]:
        token = tokens.current()
        return token.text, token.until_s, "", tokens.extensions()

    return told


def of_reader(
    section: KafkaSection,
    tokens: Tokens | None,
    client_id: str | None,
    *,
    group: str | None,
    member: str | None,
    fetch_max_wait_ms: int,
) -> dict[str, Any]:
    """Return the settings of a consumer that commits nothing by itself and sees no aborted transactions.

    Raises `ConfigError` where the client is not installed.
    """
    session_ms = int(section.session_seconds * 1000)
    found = _common(section, tokens, client_id) | {
        "group.id": group or "detector-reader",  # one has to be named, also by readers that are in no group
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.partition.eof": True,
        "session.timeout.ms": session_ms,
        "heartbeat.interval.ms": max(min(1000, session_ms // 3), 1),
        "max.poll.interval.ms": max(300_000, session_ms),
        "topic.metadata.refresh.interval.ms": METADATA_MS,
        "fetch.wait.max.ms": fetch_max_wait_ms,
        "fetch.queue.backoff.ms": 1,  # by default a full queue stops fetching for a second
        "fetch.error.backoff.ms": 100,
        "max.partition.fetch.bytes": FETCH_BYTES,
        "queued.max.messages.kbytes": QUEUE_KB,
        "receive.message.max.bytes": LARGEST_BATCH,  # of an answer, and of what a batch of zstd unpacks to
    }
    if member is not None:
        found["group.instance.id"] = member
    return found


def of_writer(
    section: KafkaSection, tokens: Tokens | None, client_id: str | None, *, linger_ms: int, batch_bytes: int
) -> dict[str, Any]:
    """Return the settings of a producer that doubles nothing; raises `ConfigError` where the client is not installed."""
    return _common(section, tokens, client_id) | {
        "enable.idempotence": True,
        "acks": "all",
        "linger.ms": linger_ms,
        "batch.size": batch_bytes,
        "compression.type": section.compression,
        "delivery.timeout.ms": DELIVERY_MS,
        "queue.buffering.max.messages": WAITING_RECORDS,
        "partitioner": "murmur2_random",  # as Kafka's own client
    }


def of_transactions(
    section: KafkaSection,
    tokens: Tokens | None,
    client_id: str | None,
    *,
    name: str,
    timeout_ms: int,
    batch_bytes: int,
) -> dict[str, Any]:
    """Return the settings of a producer of transactions under `name`, which the broker ends after `timeout_ms`.

    Raises `ConfigError` where the client is not installed.
    """
    found = of_writer(section, tokens, client_id, linger_ms=LINGER_MS, batch_bytes=batch_bytes)
    return found | {"transactional.id": name, "transaction.timeout.ms": timeout_ms, "delivery.timeout.ms": timeout_ms}
