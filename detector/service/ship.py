"""The ship stage: alerts and decisions from their topics into Elasticsearch, each once.

It has a consumer group of its own, ``<group>.ship``, and a thread of its own, so detection never waits for it. While
Elasticsearch is slow or away its partitions are paused and polling goes on; nothing is dropped, since the topics hold it all.
Offsets are committed only when Elasticsearch has what came before them, so after a crash some of it is written again, and
found to be there by its id.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable

import structlog
from kafka import OffsetAndMetadata, TopicPartition
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.errors import FencedInstanceIdError, KafkaError

from detector.clock import Clock
from detector.config import Config
from detector.errors import FatalError, ServiceError
from detector.service.carry import SINK, Carrier, Entry, Means
from detector.service.kafka.connection import Connection
from detector.service.kafka.topics import Topics
from detector.service.telemetry.metrics import Metrics, records_waiting
from detector.sinks.delivery import Backoff
from detector.sinks.elastic.bulk import Bulk
from detector.sinks.elastic.connection import connect

AT_ONCE = 1000  # records of a load
AT_ONCE_BYTES = 4 * 1024 * 1024
MOST_WAITING = 2  # loads, besides those that are handed over
POLL_MS = 50
COMMIT_MS = 10_000
CLOSE_MS = 5_000
END_S = 5.0
SHARE = 0.2  # of the time, where it computes besides the detection

log = structlog.get_logger(__name__)


class ShipStage:
    """Runs the stage in a thread; the worker's own thread only looks after it.

    `alone` says that nobody else computes in this process, so that shipping may take all of it.
    """

    def __init__(
        self,
        config: Config,
        connection: Connection,
        topics: Topics,
        clock: Clock,
        metrics: Metrics,
        member: str | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self._config = config
        self._connection = connection
        self._topics = topics
        self._clock = clock
        self._metrics = metrics
        self._member = member
        self._alone = alone
        self._client = connect(config.elasticsearch)
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._reading: Reading | None = None
        self._kafka_away: str | None = None
        self._thread = threading.Thread(target=self._run, name="ship", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether it is in its group; while Elasticsearch is away it is, for the topics hold what waits."""
        return self._reading is not None and self._reading.joined

    @property
    def trouble(self) -> str | None:
        """What keeps it from shipping, in a sentence; None while all is well."""
        reading = self._reading
        return self._kafka_away if reading is None else reading.trouble

    def step(self, timeout_ms: int) -> int:
        """Wait a little; raises what the thread ended with."""
        if timeout_ms > 0:
            self._stop.wait(timeout_ms / 1000)
        if self._failure is not None:
            raise self._failure
        return 0

    def close(self) -> None:
        """End; what is under way is finished where Elasticsearch answers."""
        self._stop.set()
        self._thread.join(END_S)
        self._client.close()

    abandon = close

    def _run(self) -> None:
        pauses = Backoff(first_s=1.0, longest_s=30.0)
        while not self._stop.is_set():
            try:
                self._reading = Reading(self._means(), self._config.kafka.group_id, self._member)
                while not self._stop.is_set():
                    self._reading.step(POLL_MS)
                    pauses.reset()
            except (FencedInstanceIdError, FatalError) as error:
                self._failure = error
            except (ServiceError, KafkaError) as error:
                self._kafka_away = str(error)
                log.warning("shipping starts again from its last commit", cause=str(error))
            except Exception as error:
                # Detection must not end for it.
                self._kafka_away = f"an unforeseen fault: {error}"
                log.exception("shipping starts again from its last commit")
            self._let_go()
            if self._failure is not None:
                return
            self._stop.wait(pauses.next())

    def _let_go(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            try:
                reading.close()
            except Exception:
                log.exception("could not leave the group in order")

    def _means(self) -> Means:
        return Means(
            bulk=Bulk(self._client, self._config.elasticsearch),
            connection=self._connection,
            topics=self._topics,
            metrics=self._metrics,
            clock=self._clock,
            namespace=self._config.elasticsearch.namespace,
            share=1.0 if self._alone else SHARE,
        )


class _Watch(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Hears of partitions, in the client's own thread."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self.lost: set[TopicPartition] = set()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        if assigned:
            self._carrier.doubt()

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.lost.update(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.lost.update(lost)


class Reading:
    """The reading half: one member of the group, which polls whatever happens."""

    def __init__(self, means: Means, group: str, member: str | None) -> None:
        self._metrics = means.metrics
        self._consumer = means.connection.consumer(
            group=f"{group}.ship", member=member, max_poll_records=AT_ONCE, fetch_max_wait_ms=POLL_MS
        )
        self._carrier = Carrier(means)
        self._watch = _Watch(self._carrier)
        self._waiting: deque[Entry] = deque()
        self._bytes = 0
        self._reached: dict[TopicPartition, int] = {}
        self._paused = False
        self._measured = 0.0
        self.joined = False
        self._consumer.subscribe(list(means.kinds), listener=self._watch)

    @property
    def trouble(self) -> str | None:
        """What keeps Elasticsearch from having it all."""
        fault = self._carrier.trouble
        return None if fault is None else str(fault)

    def step(self, timeout_ms: int) -> None:
        """Take in what has arrived, hand it on, and commit what is done.

        Raises what the carrier ended with, which is a fault of Kafka's.
        """
        if self._carrier.failure is not None:
            raise self._carrier.failure
        self._pause(pause=len(self._waiting) >= MOST_WAITING * AT_ONCE or self._bytes >= MOST_WAITING * AT_ONCE_BYTES)
        polled = self._consumer.poll(timeout_ms=timeout_ms)
        for place, records in polled.items():
            self._reached.setdefault(place, records[0].offset)
            self._waiting.extend(Entry(place, record.offset, record.key, record.value or b"") for record in records)
            self._bytes += sum(len(record.value or b"") for record in records)
        if self._watch.lost:
            lost, self._watch.lost = self._watch.lost, set()
            self._waiting = deque(entry for entry in self._waiting if entry.place not in lost)
            self._bytes = sum(len(entry.value) for entry in self._waiting)
        while self._waiting and not self._carrier.full:
            self._carrier.put(self._load())
        self._commit(self._carrier.finished())
        self._measure()

    def _load(self) -> list[Entry]:
        """Return the next records, up to a number and a size."""
        load: list[Entry] = []
        size = 0
        while self._waiting and len(load) < AT_ONCE and size < AT_ONCE_BYTES:
            load.append(self._waiting.popleft())
            size += len(load[-1].value)
        self._bytes -= size
        return load

    def _pause(self, *, pause: bool) -> None:
        """Take nothing more in; a partition that is assigned meanwhile is paused, too, at the next turn."""
        if pause:
            self._consumer.pause(*self._consumer.assignment())
        elif self._paused:
            self._consumer.resume(*self._consumer.assignment())
        self._paused = pause

    def _commit(self, done: list[Entry]) -> None:
        assigned = self._consumer.assignment()
        news = {entry.place: entry.offset + 1 for entry in done if entry.place in assigned}
        if not news:
            return
        self._reached |= news
        try:
            self._consumer.commit(
                {place: OffsetAndMetadata(offset, "", -1) for place, offset in news.items()}, timeout_ms=COMMIT_MS
            )
        except FencedInstanceIdError:
            raise
        except KafkaError as error:
            # It is written; whoever reads these records again finds it there.
            log.warning("offsets not committed", stage="ship", cause=str(error))
        else:
            self._metrics.committed("ship")

    def _measure(self) -> None:
        """Set the gauges, about once a second."""
        if time.monotonic() < self._measured + 1:
            return
        self._measured = time.monotonic()
        self.joined = self._consumer.group_metadata().generation_id >= 0
        assigned = self._consumer.assignment()
        self._reached = {place: offset for place, offset in self._reached.items() if place in assigned}
        places = {place: self._reached.get(place, 0) for place in self._reached}
        waiting = records_waiting(self._consumer, places)
        self._metrics.lag("ship", waiting)
        self._metrics.sink_waiting(SINK, sum(waiting.values()))
        if self.joined and not any(waiting.values()) and self._carrier.trouble is None:
            self._metrics.committed("ship")
            self._metrics.sink_current(SINK)

    def close(self) -> None:
        """Leave the group, with what is done committed."""
        self._carrier.close(END_S - 2.0)
        try:
            self._commit(self._carrier.finished())
        except KafkaError as error:
            log.warning("left without a last commit", stage="ship", cause=str(error))
        self._consumer.close(autocommit=False, timeout_ms=CLOSE_MS)
