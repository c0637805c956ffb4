"""The link stage: sketches in, alerts and decisions about campaigns out, state and offsets in one transaction.

Each partition of the sketches topic has its own shard, with the linkers of the models whose key leads there. `sharded.stage`
says what is committed when, `arrivals` in which order sketches are taken, and `queue` what happens to repeated ones.
State is in a topic of its own, `detector.links`, under the group ``<group_id>.link``.

A model is the smallest part: one worker does all that there is to do for it. Its queries are those of all clients, so a link
between any two of them is seen, and a model that one core cannot search is not searched in time. Watch the lag of the stage.

Only models with a baseline are searched: sketches can be compared only where one reference has reduced them all, and a model
that is learned from the stream has a reference in each partition.

A record without the seal of this service, or one that cannot be decoded, becomes a dead letter, and the stream goes on.
"""

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from kafka import TopicPartition

from detector.engine.findings import Outputs
from detector.engine.linkers import linker_for
from detector.engine.odometer.reading import LEADS
from detector.errors import SketchesError
from detector.service.kafka.results import results
from detector.service.kafka.sketches import PURPOSE, decode
from detector.service.link.shard import Entry, Linked, LinkShard, ModelLinker
from detector.service.refusals import Refused
from detector.service.sharded.given import Given, Reading, Understood
from detector.service.sharded.references import references_of
from detector.service.sharded.stage import ShardedStage
from detector.service.state.seal import Seal
from detector.service.telemetry.metrics import SketchOutcome

MOST_RECORDS = 200  # of up to 1,000 sketches
LINGER_MS = 0  # results leave at once
RARER = 6  # than those of detection are its checkpoints: a linker's state is 10 MB, and queries change most of it
LONGEST_CHECKPOINT_S = 60.0  # unless detection's are as rare
RESTORE_S = 30.0  # for another worker to restore the partitions of one that has died, after its session

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class UnderstoodSketches(Understood):
    """What came of records of sketches, before anything is sent."""

    outcomes: Counter[SketchOutcome] = field(default_factory=Counter)


class LinkStage(ShardedStage[LinkShard, UnderstoodSketches]):
    """Reads the sketches topic as one member of the link group."""

    def __init__(self, given: Given) -> None:
        kafka = given.config.kafka
        every_s = max(kafka.checkpoint_seconds, min(RARER * kafka.checkpoint_seconds, LONGEST_CHECKPOINT_S))
        section = kafka.model_copy(update={"group_id": link_group(kafka.group_id), "checkpoint_seconds": every_s})
        topics = replace(given.topics, state=given.topics.links)
        references = references_of(given.config, given.baseline)
        self._baselines = dict(given.baseline.models) if given.baseline else {}
        self._patience_s = kafka.session_seconds + RESTORE_S
        self._heard: dict[TopicPartition, float] = {}
        super().__init__(
            given,
            Reading("link", section, topics, [topics.sketches], MOST_RECORDS, LINGER_MS),
            lambda: LinkShard(references, self._linker_of, int(1000 * self._patience_s)),
        )
        self._sketch_seal = Seal(self._settings.secret, PURPOSE)

    @property
    def trouble(self) -> str | None:
        """Which partitions of the queries are not waited for, in a sentence; None where all are. Safe to read from a thread."""
        passed_over = self._passed_over
        if not passed_over:
            return None
        named = ", ".join(map(str, passed_over[:5])) + (", ..." if len(passed_over) > 5 else "")
        return f"links are sought without partitions {named} of the queries, of which nothing is heard: do detect workers run?"

    _passed_over: tuple[int, ...] = ()

    def _linker_of(self, model: str) -> ModelLinker:
        return linker_for(model, self._baselines[model], self._settings)

    def _understood(self, partition: TopicPartition, shard: LinkShard, records: Sequence[Any]) -> UnderstoodSketches:
        refused: list[Refused] = []
        entries = []
        for record in records:
            try:
                entries.append(Entry(max(record.timestamp or 0, 0), self._content(partition, record)))
            except SketchesError as error:
                refused.append(Refused(record.offset, "schema", str(error)))
        started = time.perf_counter()
        linked = shard.process(entries)
        self._metrics.scored(time.perf_counter() - started)
        self._heard[partition] = time.monotonic()
        return self._rendered(linked, refused)

    def _content(self, partition: TopicPartition, record: Any) -> Any:
        key, value = record.key or b"", record.value or b""
        if not self._sketch_seal.fits(record.headers or (), partition.partition, key, value, 0):
            raise SketchesError("no seal of this service: written by another program, or under another seed")
        return decode(value)

    def _rendered(self, linked: Linked, refused: Sequence[Refused]) -> UnderstoodSketches:
        found: Outputs = linked.outputs
        return UnderstoodSketches(refused, (), found, results(found, self._stamp, self._topics), linked.outcomes)

    def _dispatch(self, partition: TopicPartition, records: Sequence[Any], understood: UnderstoodSketches) -> None:
        super()._dispatch(partition, records, understood)
        for outcome, sketches in understood.outcomes.items():
            self._metrics.sketched(outcome, sketches)

    def _check(self) -> None:
        """Take what waits where no record has come for the patience: nobody is there to tell of progress."""
        with self._lock:
            for partition, owned in self._owned.items():
                heard = self._heard.setdefault(partition, time.monotonic())
                if owned.shard.held and time.monotonic() > heard + self._patience_s:
                    log.warning("no detect worker tells of progress: sketches are taken as they came", **_where(partition))
                    self._send(partition, (), self._rendered(owned.shard.hurry(), ()))

    def _weigh(self, shards: Collection[LinkShard]) -> None:
        self._passed_over = tuple(sorted({partition for shard in shards for partition in shard.passed_over}))
        self._metrics.ordering(sum(shard.held for shard in shards), len(self._passed_over))
        held = [shard.organizations(LEADS) for shard in shards]
        self._metrics.organizations({lead: sum(one[lead] for one in held) for lead in LEADS})

    def _released(self, shard: LinkShard) -> None:
        log.debug("a partition is another worker's now", models=shard.models)

    def _instruct(self, shard: LinkShard) -> None:
        shard.adopt(self._settings.policy)

    def _told(self, shard: LinkShard) -> dict[str, Any]:
        return {"models": shard.models, "sketches_held": shard.held}


def link_group(group: str) -> str:
    """Return the consumer group of the stage.

    >>> link_group("detector")
    'detector.link'
    """
    return f"{group}.link"


def _where(partition: TopicPartition) -> dict[str, Any]:
    return {"topic": partition.topic, "partition": partition.partition}
