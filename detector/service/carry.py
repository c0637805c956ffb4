"""The writing half of the ship stage: takes loads of records and returns when Elasticsearch has them, however long that takes.

It runs in a thread of its own, so that waiting for Elasticsearch keeps nobody from polling Kafka. A record that will never be
taken goes to the dead letters; everything else is written again, later each time, until it passes.
"""

import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog
from elastic_transport import TransportError
from elasticsearch import ApiError, AuthorizationException
from kafka import TopicPartition

from detector.clock import Clock
from detector.contracts.moment import rfc3339
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import Origin, Outbox
from detector.service.kafka.topics import Topics
from detector.service.telemetry.metrics import Metrics
from detector.sinks.delivery import Backoff
from detector.sinks.elastic.bulk import Bulk, Written
from detector.sinks.elastic.documents import Document, Kind, NoDocumentError, documents
from detector.sinks.elastic.faults import ElasticError, explain

SINK = "elasticsearch"
LONGEST_PAUSE_S = 30.0
REMIND_S = 300.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of one of the topics."""

    place: TopicPartition
    offset: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Means:
    """What a carrier works with; `kinds` says what each topic holds, `share` how much of the time it may compute."""

    bulk: Bulk
    connection: Connection
    topics: Topics
    metrics: Metrics
    clock: Clock
    namespace: str
    share: float = 1.0

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What each topic holds."""
        return {self.topics.alerts: "alert", self.topics.decisions: "decision"}


class Carrier:
    """Carries one load after the other; `put` while it is not `full`, and take `finished` loads back.

    `trouble` is the sentence about what keeps it from writing, None while all is well; `failure` is what ended it, which is
    never Elasticsearch.
    """

    def __init__(self, means: Means) -> None:
        self.trouble: ElasticError | None = None
        self.failure: Exception | None = None
        self._means = means
        self._stop = threading.Event()
        self._todo: queue.Queue[list[Entry] | None] = queue.Queue(maxsize=2)
        self._done: queue.Queue[list[Entry]] = queue.Queue()
        self._outbox: Outbox | None = None
        self._backoff = Backoff(longest_s=LONGEST_PAUSE_S)
        self._told_s = 0.0
        self._doubtful = True  # whether what comes may have been written before, in an index that is no longer written to
        self._may_look = True
        self._thread = threading.Thread(target=self._run, name="ship-elasticsearch", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether it has as much as it takes."""
        return self._todo.full()

    def put(self, load: list[Entry]) -> None:
        """Hand a load over; not while it is `full`."""
        self._todo.put_nowait(load)

    def finished(self) -> list[Entry]:
        """Return what Elasticsearch (or the dead letters) has since the last time, in the order it was handed over."""
        found: list[Entry] = []
        with suppress(queue.Empty):
            while True:
                found += self._done.get_nowait()
        return found

    def doubt(self) -> None:
        """Say that somebody else may have written what comes."""
        self._doubtful = True

    def close(self, patience_s: float) -> None:
        """End: at once where Elasticsearch does not answer, else after the load that is under way."""
        self._stop.set()
        with suppress(queue.Full):
            self._todo.put_nowait(None)
        self._thread.join(patience_s)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                load = self._todo.get()
                if load is None:
                    break
                if self._carry(load):
                    self._done.put(load)
        except Exception as error:  # noqa: BLE001  # raised again by who polls
            self.failure = error
        finally:
            if self._outbox is not None:
                self._outbox.close()

    def _carry(self, load: list[Entry]) -> bool:
        """Write a load; False when it was told to stop before that was done."""
        begun_s = time.thread_time()
        owners, found = self._documents(load)
        refused: set[tuple[TopicPartition, int]] = set()
        left = list(range(len(found)))
        while left:
            outcome = self._write(found, left)
            for place, why in outcome.refused.items():
                owner = owners[place]
                if (owner.place, owner.offset) not in refused:  # several documents may come of a record
                    self._refuse(owner, "schema", f"Elasticsearch does not take it: {why}")
                refused.add((owner.place, owner.offset))
            left = outcome.left
            self._tell(outcome)
            if outcome.fault is not None:
                self._doubtful = True
                self._stop.wait(self._backoff.next())
                if self._stop.is_set():
                    return False
        if self._outbox is not None:
            self._outbox.flush()
        self._rest(time.thread_time() - begun_s)
        return True

    def _documents(self, load: list[Entry]) -> tuple[list[Entry], list[Document]]:
        """Return the documents of a load, and for each the entry that it came from."""
        ingested = rfc3339(self._means.clock.now_ms())
        kinds = self._means.kinds
        owners: list[Entry] = []
        found: list[Document] = []
        for entry in load:
            if not entry.value:  # a tombstone: the decision ran out long ago
                continue
            try:
                made = documents(kinds[entry.place.topic], entry.value, self._means.namespace, ingested)
            except NoDocumentError as error:
                self._refuse(entry, error.reason, str(error)[:500])
                continue
            except MemoryError:
                raise
            except Exception as error:
                # One record must not hold up all that come after it.
                log.exception("a record cannot be made a document", sink=SINK, topic=entry.place.topic, offset=entry.offset)
                self._refuse(entry, "failed", f"cannot be made a document: {error!r}"[:500])
                continue
            owners += [entry] * len(made)
            found += made
        return owners, found

    def _write(self, found: list[Document], left: list[int]) -> Written:
        present = set[int]()
        if self._doubtful and self._may_look:
            chosen = [found[place] for place in left]
            try:
                present = {left[place] for place in self._means.bulk.known(chosen)}
            except AuthorizationException:
                self._may_look = False
                log.warning("may not read what was shipped: after a rollover, documents written again may be there twice")
            except (ApiError, TransportError) as error:
                return Written(left=left, fault=explain(self._means.bulk.section, error))
        outcome = self._means.bulk.write(found, [place for place in left if place not in present])
        outcome.repeated += len(present)
        # Where repeats keep coming, an older stretch of the topic is read again.
        self._doubtful = outcome.repeated > 0
        return outcome

    def _refuse(self, entry: Entry, reason: str, detail: str) -> None:
        if self._outbox is None:
            self._outbox = Outbox(self._means.connection, self._means.topics, self._means.metrics)
        origin = Origin(entry.place.topic, entry.place.partition, entry.offset)
        self._outbox.dead_letter(reason, detail, entry.value, origin, entry.key)
        log.warning("refused for good, see the dead letters", sink=SINK, cause=detail, topic=origin.topic, offset=origin.offset)

    def _tell(self, outcome: Written) -> None:
        """Count, and say what changed."""
        metrics, fault = self._means.metrics, outcome.fault
        metrics.sent(SINK, "delivered", outcome.written)
        metrics.sent(SINK, "repeated", outcome.repeated)
        metrics.sent(SINK, "refused", len(outcome.refused))
        metrics.sink_up(SINK, up=fault is None)
        before, self.trouble = self.trouble, fault
        if fault is None:
            self._backoff.reset()
            metrics.sink_current(SINK)
            if before is not None:
                log.info("Elasticsearch takes documents again")
            return
        metrics.sending_again(SINK)
        if before is None or str(before) != str(fault) or time.monotonic() > self._told_s + REMIND_S:
            self._told_s = time.monotonic()
            log.warning("not shipped, trying again until it passes", cause=str(fault), waiting=len(outcome.left))

    def _rest(self, used_s: float) -> None:
        """Leave the rest of the time to the others in this process, of whom only one can compute at a time."""
        if self._means.share < 1.0:
            self._stop.wait(used_s * (1.0 / self._means.share - 1.0))
