"""The detect stage: normalised events in, alerts and decisions out, state and offsets in one transaction.

Each partition of the queries topic has its own shard of clients; see `sharded.stage` for what is committed when. Alerts and
decisions leave at once; an event that the state has already seen is recognised by its id. Where links between accounts are
sought, sketches of the queries leave with them, see `sketching`.
"""

import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import TopicPartition

from detector.baseline.secret import settings_of
from detector.baseline.store import Baseline, dimensions_of
from detector.clock import Clock
from detector.config import Config
from detector.engine.links.sketch import Sketches
from detector.engine.odometer.reading import LEADS
from detector.engine.shard import Shard
from detector.ingest.assemble import assembler_for
from detector.ingest.batch import Batch, usable
from detector.service.detect.drift import DriftReporter
from detector.service.detect.kinds import KindReporter
from detector.service.detect.learning import LearningReporter
from detector.service.detect.sketching import SketchWriter, source_of
from detector.service.kafka.codec import decode
from detector.service.kafka.connection import Connection
from detector.service.kafka.record import whole
from detector.service.kafka.registry import decoder_of_topics
from detector.service.kafka.results import results
from detector.service.kafka.topics import Topics
from detector.service.refusals import RefusalMonitor, Refused
from detector.service.sharded.given import Given, Reading, Understood
from detector.service.sharded.references import references_of
from detector.service.sharded.stage import ShardedStage
from detector.service.telemetry.metrics import Metrics
from detector.spill import SpillFile

MOST_RECORDS = 2000
LINGER_MS = 0  # results leave at once

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnderstoodEvents(Understood):
    """What came of records of events, before anything is sent."""

    batches: Sequence[Batch] = ()


class DetectStage(ShardedStage[Shard, UnderstoodEvents]):
    """Reads the queries topic as one member of the detect group.

    Clients are spread over `partitions`; partitions beyond those are not read. `stop` ends a restore that is running. Sketches
    are written for the search for links, whose models are spread over `link_partitions`; None: it is not there.
    """

    def __init__(
        self,
        config: Config,
        baseline: Baseline | None,
        connection: Connection,
        topics: Topics,
        partitions: int,
        clock: Clock,
        member: str | None,
        metrics: Metrics | None = None,
        stop: threading.Event | None = None,
        link_partitions: int | None = None,
    ) -> None:
        metrics = metrics or Metrics()
        settings = settings_of(config, baseline).dealt(partitions)
        self._baselines = dict(baseline.models) if baseline else {}
        if 0 < settings.policy.new_stops_per_minute < partitions:
            log.warning(
                "each partition may stop one client a minute, which is more than new_stops_per_minute",
                new_stops_per_minute=settings.policy.new_stops_per_minute,
                partitions=partitions,
            )
        self._assembler = assembler_for(
            config,
            dimensions_of(self._baselines),
            clock,
            decoder_of_topics(config, baseline.schemas if baseline else None),
            settings.secret,
        )
        self._keyed = config.kafka.keyed
        self.refusals = RefusalMonitor("detect", config.kafka.dead_letter_ratio, metrics)
        self._drift = DriftReporter(metrics)
        self._kinds = KindReporter()
        self.learning = LearningReporter(metrics)
        sources = list(config.kafka.input_topics) if self._keyed else [topics.queries]
        references = references_of(config, baseline) if link_partitions is not None else {}
        self._sketching = None
        if references and link_partitions is not None:
            source = source_of(connection, sources[0])
            self._sketching = SketchWriter(
                topics.sketches, link_partitions, references, source, partitions, settings.secret, clock
            )
        super().__init__(
            Given(config, baseline, connection, topics, partitions, clock, member, metrics, stop or threading.Event()),
            Reading("detect", config.kafka, topics, sources, MOST_RECORDS, LINGER_MS, closed=self._keyed, foreign=self._keyed),
            lambda: Shard(self._settings, self._baselines, parked=SpillFile()),
        )

    def _instruct(self, shard: Shard) -> None:
        shard.adopt(self._settings.policy)

    def _released(self, shard: Shard) -> None:
        self._metrics.evicted("handed_over", shard.clients)

    def _told(self, shard: Shard) -> dict[str, Any]:
        return {"clients": shard.clients}

    def _check(self) -> None:
        self.refusals.check()
        if self._sketching is not None:
            with self._lock:
                positions = {partition: owned.position for partition, owned in self._owned.items()}
                self._sketching.announce(self._producer, self._reader, positions)

    def _weigh(self, shards: Collection[Shard]) -> None:
        self._metrics.tracked(sum(shard.clients for shard in shards), sum(shard.parked for shard in shards))
        held = [shard.holders(LEADS) for shard in shards] or [[0] * len(LEADS)]
        self._metrics.holders(dict(zip(LEADS, map(sum, zip(*held, strict=True)), strict=True)))
        self._drift.check(shards)
        self._kinds.check(shards)
        self.learning.check(shards)

    def _understood(self, partition: TopicPartition, shard: Shard, records: Sequence[Any]) -> UnderstoodEvents:
        """Process records and render the findings. Nothing has been sent when this raises."""
        values = [record.value or b"" for record in records]
        offsets = [record.offset for record in records]
        batches: list[Batch]
        if self._keyed:
            batches, rejections, places = self._assembler.assemble(
                values,
                partition.topic,
                first_line=1,
                first_sequence=0,
                record_at=lambda at: whole(partition, records[at]),
            )
            for batch in batches:
                batch.sequence[:] = [offsets[places.record(place)] for place in batch.sequence.tolist()]
            refused = [Refused.of(entry, offsets[places.record(entry.sequence)]) for entry in rejections]
        else:
            batches, unreadable = decode(values, offsets)
            refused = [Refused(offsets[entry.place], "schema", entry.detail) for entry in unreadable]
        started = time.perf_counter()
        outputs = shard.process(*batches)
        self._metrics.scored(time.perf_counter() - started)
        among = [Refused.of(refusal) for refusal in outputs.refusals]
        return UnderstoodEvents(refused, among, outputs, results(outputs, self._stamp, self._topics), batches)

    def _dispatch(self, partition: TopicPartition, records: Sequence[Any], understood: UnderstoodEvents) -> None:
        good = usable(understood.batches)
        self.refusals.note(good, understood.unreadable, understood.refused, lambda _: partition)
        super()._dispatch(partition, records, understood)
        if self._sketching is not None:
            sketches: Sequence[Sketches] = understood.outputs.sketches
            self._sketching.write(self._producer, partition.partition, records, sketches)

    def _headers(self, headers: Sequence[tuple[str, bytes | None]]) -> Sequence[tuple[str, bytes | None]]:
        return headers if self._keyed else ()
