"""The dependencies of deliveries: Kafka, the metrics, and the topic of dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass

from detector.config.elasticsearch import DELIVERY
from detector.contracts.dead_letter import Reason
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import RecordOrigin, StageProducer
from detector.service.kafka.topics import Topics
from detector.service.telemetry.metrics import Metrics
from detector.sinks.entry import Entry
from detector.sinks.message import Kind


def group_of(group: str, delivery: str) -> str:
    """Return the consumer group of a delivery; ``[elasticsearch]`` has a shorter one, which existing deployments use.

    >>> group_of("detector", "splunk"), group_of("detector", "elasticsearch")
    ('detector-ship-splunk', 'detector.ship')
    """
    return f"{group}.ship" if delivery == DELIVERY else f"{group}-ship-{delivery}"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What deliveries work with; `member` makes each a static member of its group, `share` is the most CPU it may take."""

    connection: Connection
    topics: Topics
    group: str
    metrics: Metrics
    member: str | None = None
    share: float = 1.0

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each topic holds."""
        return {self.topics.alerts: "alert", self.topics.decisions: "decision"}


class DeadLetterTopic:
    """Sends records that a receiver refuses for good to the topic of dead letters; connects when the first one comes."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._producer: StageProducer | None = None

    def put(self, entry: Entry, reason: Reason, detail: str) -> None:
        """Send a record, with its origin and key."""
        if self._producer is None:
            self._producer = StageProducer(self._dependencies.connection, self._dependencies.topics, self._dependencies.metrics)
        origin = RecordOrigin(entry.source, entry.partition, entry.number)
        self._producer.dead_letter(reason, detail, entry.record.data, origin, entry.key)

    def flush(self) -> None:
        """Wait until Kafka has all of them; raises `ServiceError` when it does not take one."""
        if self._producer is not None:
            self._producer.flush()

    def close(self) -> None:
        """Close the producer."""
        if self._producer is not None:
            self._producer.close()
