"""What detection writes for the search for links: sketches of its queries, and how far each partition has come.

Sketches leave at once, through the producer of alerts, and not in the checkpoint's transaction. In the transaction they would
wait for it, 5 seconds by default, and come in bursts; a worker would have to keep what was not committed yet, and to write it
again whenever a commit is refused. What is repeated after a restart costs the search for links one comparison a query: it drops
everything up to the place that it has reached in each partition. That is exact, since whoever continues a partition begins at
a checkpoint, and a checkpoint is committed only when all that was written before it is acknowledged. So in the order of the
topic no sketch comes before an earlier one of its partition was there.

Once a second each worker also writes the *progress* of its partitions: up to when everything that was written to them has been
processed, by the times of the records. A partition that is read to its end has come as far as the clock when the broker was
asked where it ends. Without progress, who puts the sketches of several partitions in order would wait for ever for a
partition that has nothing to say.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import structlog
from kafka import TopicPartition

from detector.clock import Clock
from detector.contracts.moment import LAST_MS
from detector.engine.links.sketch import Sketches
from detector.engine.partition import partition_of
from detector.errors import BrokerError
from detector.service.kafka.clients.protocol import Reader
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import StageProducer
from detector.service.kafka.sketches import (
    PURPOSE,
    SOURCE_BYTES,
    PlacedSketches,
    Progress,
    encode_progress,
    encode_sketches,
    joined,
    pieces,
)
from detector.service.state.seal import SEAL, Seal

EVERY_S = 1.0
ASK_MS = 1000  # for where partitions end

log = structlog.get_logger(__name__)


def source_of(connection: Connection, topic: str) -> bytes:
    """Return the id that Kafka gave the topic; zeros where the broker is too old to have given one (before 2.8).

    Raises `ServiceError` or the client's own error when the broker does not say.
    """
    admin = connection.admin()
    try:
        described = admin.describe_topics([topic])
    finally:
        admin.close()
    found = next((one.get("topic_id") for one in described), None)
    return (found if isinstance(found, UUID) else UUID(str(found or UUID(int=0)))).bytes


class SketchWriter:
    """Writes to the sketches topic, whose models are spread over `partitions`; `references` names each model's reference.

    `source` is the id of the queries topic, whose clients are spread over `clients` partitions.
    """

    def __init__(
        self,
        topic: str,
        partitions: int,
        references: Mapping[str, str],
        source: bytes,
        clients: int,
        secret: int,
        clock: Clock,
    ) -> None:
        assert len(source) == SOURCE_BYTES  # noqa: S101  # as `source_of` gave it
        self._topic = topic
        self._references = references
        self._places = {model: partition_of(model, partitions) for model in references}
        self._source = source
        self._clients = clients
        self._seal = Seal(secret, PURPOSE)
        self._clock = clock
        self._reached: dict[int, int] = {}
        self._told_s = float("-inf")

    def write(self, producer: StageProducer, partition: int, records: Sequence[Any], sketches: Sequence[Sketches]) -> None:
        """Send the sketches of records of a partition of the queries topic; `sequence` is the offset of each one's record.

        All sketches of a model that come of one record have to be in one call. Raises as the producer's `send` does.
        """
        written = {record.offset: _moment(record.timestamp) for record in records}
        self._reached[partition] = max(self._reached.get(partition, 0), *written.values())
        by_model: dict[str, list[Sketches]] = {}
        for some in sketches:
            by_model.setdefault(some.model, []).append(some)
        for found in map(joined, by_model.values()):
            if len(found):
                times = np.array([written[offset] for offset in found.sequence.tolist()], np.int64)
                index = _within(found.sequence)
                reference = self._references[found.model]
                placed = PlacedSketches(found, self._source, partition, reference, found.sequence, index, times)
                for piece in pieces(placed):
                    self._send(producer, self._places[found.model], found.model.encode(), encode_sketches(piece))

    def announce(self, producer: StageProducer, reader: Reader, positions: Mapping[TopicPartition, int]) -> None:
        """Send the progress of our partitions, whose next offsets are `positions`, if it is time."""
        if time.monotonic() < self._told_s + EVERY_S or not self._places or not positions:
            return
        self._told_s = time.monotonic()
        self._reached = {partition.partition: self._reached.get(partition.partition, 0) for partition in positions}
        for partition, moment in self._at_end(reader, positions).items():
            self._reached[partition] = max(self._reached[partition], moment)
        value = encode_progress(Progress(self._source, self._clients, self._reached))
        for place in sorted(set(self._places.values())):
            self._send(producer, place, b"", value)

    def _at_end(self, reader: Reader, positions: Mapping[TopicPartition, int]) -> dict[int, int]:
        """Return the time of asking, for each partition with nothing left to read."""
        seen = {place: reader.highwater(place) for place in positions}
        hopeful = [place for place, position in positions.items() if (end := seen[place]) is None or position >= end]
        now = self._clock.now_ms()
        try:
            ends = reader.end_offsets(hopeful, timeout_ms=ASK_MS) if hopeful else {}
        except BrokerError as error:  # it is told by the next progress
            log.debug("the broker does not say where partitions end", cause=str(error))
            return {}
        return {place.partition: now for place, end in ends.items() if end is not None and positions[place] >= end}

    def _send(self, producer: StageProducer, place: int, key: bytes, value: bytes) -> None:
        headers = [(SEAL, self._seal.of(place, key, value, 0))]
        producer.send(self._topic, key, value, headers, partition=place)


def _moment(timestamp: int | None) -> int:
    """Return the time of a record, which whoever wrote it chose."""
    return min(max(timestamp or 0, 0), LAST_MS)


def _within(offset: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the number of each among those of the same offset, from 0.

    >>> _within(np.array([4, 5, 5, 5, 9, 9])).tolist()
    [0, 0, 1, 2, 0, 1]
    """
    begins = np.flatnonzero(np.diff(offset, prepend=-1))
    return np.arange(len(offset)) - np.repeat(begins, np.diff(begins, append=len(offset)))
