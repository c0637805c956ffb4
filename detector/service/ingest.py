"""The ingest stage: prediction logs in, normalised events keyed by client out.

No serving stack keys its log by client, and a client's state must live in one place; so events are validated and written anew
under their client. What cannot be used goes to the dead letters with its original bytes. Offsets are committed only when both
are acknowledged, so after a crash some records are written twice; the engine knows them by their ids.
"""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import structlog
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import FencedInstanceIdError, KafkaError

from detector.clock import Clock
from detector.config import Config
from detector.engine import ModelBaseline
from detector.errors import ServiceError
from detector.pipeline import assembler_for
from detector.service.connection import Connection
from detector.service.merge import Merger
from detector.service.metrics import Metrics, records_waiting
from detector.service.outbox import Origin, Outbox
from detector.service.topics import Topics
from detector.service.wire import encode

MOST_RECORDS = 2000
COMMIT_PATIENCE_MS = 10_000

log = structlog.get_logger(__name__)


class IngestStage:
    """Reads the input topics as one member of the ingest group."""

    def __init__(
        self,
        config: Config,
        connection: Connection,
        topics: Topics,
        clock: Clock,
        known: Mapping[str, ModelBaseline],
        metrics: Metrics | None = None,
        member: str | None = None,
    ) -> None:
        self._assembler = assembler_for(config, known, clock)
        self._topics = topics
        self._consumer = connection.consumer(
            group=f"{config.kafka.group_id}.ingest", member=member, max_poll_records=MOST_RECORDS, fetch_max_wait_ms=50
        )
        self._metrics = metrics or Metrics()
        self._reached: dict[TopicPartition, int] = {}
        self._measured = 0.0
        try:
            self._outbox = Outbox(connection, topics, self._metrics)
        except ServiceError:
            self._consumer.close(autocommit=False, timeout_ms=1000)
            raise
        self._consumer.subscribe(list(config.kafka.input_topics))
        self._merger = Merger()
        self.read = 0
        self.invalid = 0

    def step(self, timeout_ms: int) -> int:
        """Take what has arrived, write on what is due and commit; return how many records were written on.

        Raises `ServiceError` when something written was not acknowledged; a new stage then starts from the last commit.
        """
        polled = self._consumer.poll(timeout_ms=timeout_ms)
        self._merger.add(polled, self._consumer.assignment())
        for partition, records in polled.items():
            self._reached.setdefault(partition, records[0].offset)
        due = list(self._merger.due(self._consumer))
        self._measure()
        if not due:
            return 0
        self._take(due)
        self._outbox.flush()
        reached = {partition: OffsetAndMetadata(record.offset + 1, "", -1) for partition, record in due}
        try:
            self._consumer.commit(reached, timeout_ms=COMMIT_PATIENCE_MS)
        except FencedInstanceIdError:
            raise
        except KafkaError as error:
            # What was written is written; whoever reads these records again writes repeats, which the engine knows.
            log.warning("offsets not committed", cause=str(error))
        else:
            self._metrics.committed("ingest")
        for partition, offset in reached.items():
            self._reached[partition] = offset.offset
        self.read += len(due)
        return len(due)

    def _measure(self) -> None:
        """Set the gauges, about once a second."""
        if time.monotonic() < self._measured + 1:
            return
        self._measured = time.monotonic()
        assigned = self._consumer.assignment()
        self._reached = {partition: reached for partition, reached in self._reached.items() if partition in assigned}
        self._metrics.lag("ingest", records_waiting(self._consumer, self._reached))
        if not len(self._merger):
            self._metrics.committed("ingest")

    def _take(self, due: list[tuple[TopicPartition, Any]]) -> None:
        batches, rejections = self._assembler.assemble(
            [record.value or b"" for _, record in due], "log", first_line=1, first_sequence=0
        )
        ordered: dict[int, tuple[bytes, bytes]] = {}
        for batch in batches:
            for place, client, value in zip(batch.sequence.tolist(), batch.client, encode(batch), strict=True):
                ordered[place] = (client.encode(), value)
        for place in sorted(ordered):
            self._outbox.send(self._topics.queries, *ordered[place])
        for topic, records in Counter(partition.topic for partition, _ in due).items():
            self._metrics.consumed(topic, records)
        for rejection in rejections:
            partition, record = due[rejection.sequence]
            origin = Origin(partition.topic, partition.partition, record.offset)
            self._outbox.dead_letter(rejection.reason, rejection.detail, record.value, origin)
        self.invalid += len(rejections)

    def close(self) -> None:
        """Leave the group."""
        self._outbox.close()
        self._consumer.close(autocommit=False)

    def abandon(self) -> None:
        """Drop everything at once."""
        self._outbox.abandon()
        self._consumer.close(autocommit=False, timeout_ms=1000)
