"""Reading with librdkafka (confluent-kafka): it takes a fifth of kafka-python's CPU time per record.

Differences between the client and `Reader`, and what the adapter does:

- librdkafka's `consume` waits for the full number of records: the adapter asks for those that are there, and waits for a first
  one only if there are none;
- its position stops before transaction markers, which are no records: the end-of-partition event moves it on;
- it can seek only in a partition that it already fetches, which starts a moment after the assignment: the adapter retries;
- pausing drops what was fetched ahead, so a partition that is paused is not paused again;
- it requests a batch that it cannot decompress again and again: the adapter reads that batch with kafka-python, within the
  bounds of `unpacking`, and continues after it;
- it does not say when the records were written that it finds by their time: the adapter asks with kafka-python, too;
- what it knows of the group costs a question to its own thread: the generation is asked for ten times a second;
- a commit that is waited for has no limit: it runs in a thread;
- a static member cannot be made to rebalance: see `_settle`.

The two clients may share a group, which lets a running service change from one to the other; each assigns what the other has.
"""

import struct
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import structlog
from kafka import KafkaConsumer, TopicPartition

from detector.errors import BrokerError, NoAnswerError, NotAssignedError, ServiceError
from detector.service.kafka.clients.confluent_faults import Waiting, call, fault_of_reader, is_fatal
from detector.service.kafka.clients.confluent_settings import confluent_kafka
from detector.service.kafka.clients.kafka_python import first_since
from detector.service.kafka.clients.protocol import ASK_MS, Committed, Member, PartitionOwner

__all__ = ["Beside", "ConfluentReader", "member_of"]

SEEK_S: Final = 10.0
PAUSE_S: Final = 0.01
PAST_MS: Final = 5_000  # for a batch that is read with the other client
METADATA: Final = b"CGMDv2:"  # first bytes of librdkafka's group metadata
GENERATION_S: Final = 0.1
TOPIC_S: Final = 2.0
SETTLE_EVERY_S: Final = 1.0

log = structlog.get_logger(__name__)


class ConfluentRecord(NamedTuple):
    """A `ReadRecord`."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Beside(NamedTuple):
    """What a reader asks with kafka-python."""

    consumer: Callable[[], KafkaConsumer]
    """Makes a consumer in no group, which returns one record at a time."""
    complete: Callable[[Collection[str]], bool | None]
    """Whether the group rests and each partition of these topics has a member; None while it does not rest."""


class ConfluentReader:
    """A `Reader` of librdkafka's. Callbacks run inside `poll` and `close`."""

    def __init__(self, options: Mapping[str, Any], max_poll_records: int, beside: Beside) -> None:
        """Make a consumer with settings of `confluent_settings`."""
        self._beside = beside
        self._other: KafkaConsumer | None = None
        self._most = max_poll_records
        self._positions: dict[TopicPartition, int] = {}
        self._assigned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._topics: list[str] = []
        self._callbacks: dict[str, Any] = {}
        self._asked: Waiting | None = None
        self._committing: Callable[[BrokerError | None], None] | None = None
        self._member = Member(-1, "")
        self._member_until = 0.0
        self._settling = "group.instance.id" in options
        self._settle_at = float("inf")
        self._consumer = call(lambda: confluent_kafka.Consumer(dict(options) | {"on_commit": self._on_commit}))

    def subscribe(self, topics: Collection[str], owner: PartitionOwner | None = None) -> None:
        """See `Reader.subscribe`."""

        def assigned(_: Any, partitions: Iterable[Any]) -> None:
            gained = [_ours(partition) for partition in partitions]
            self._moved()
            self._assigned.update(gained)
            if owner is not None:
                owner.gained(gained)

        def revoked(_: Any, partitions: Iterable[Any]) -> None:
            leaving = [_ours(partition) for partition in partitions]
            self._moved()
            if owner is not None:
                owner.giving_up(leaving)
            self._drop(leaving)

        def lost(_: Any, partitions: Iterable[Any]) -> None:
            gone = [_ours(partition) for partition in partitions]
            self._moved()
            if owner is not None:
                owner.lost(gone)
            self._drop(gone)

        self._topics = list(topics)
        self._callbacks = {"on_assign": assigned, "on_revoke": revoked, "on_lost": lost}
        call(lambda: self._consumer.subscribe(self._topics, **self._callbacks))

    def _moved(self) -> None:
        """Note that the group has moved on."""
        self._member_until = 0.0
        if self._settling:
            self._settle_at = time.monotonic() + SETTLE_EVERY_S

    def _drop(self, partitions: Iterable[TopicPartition]) -> None:
        for partition in partitions:
            self._assigned.discard(partition)
            self._paused.discard(partition)
            self._positions.pop(partition, None)

    def _settle(self) -> None:
        """Join anew, once, where a static member has come back to a group with partitions that nobody has.

        Cooperative assignment takes two rebalances, and a static member that dies between the two returns without either: what
        it should have handed over stays unassigned until the group changes for another reason.
        """
        if not self._settling or time.monotonic() < self._settle_at:
            return
        self._settle_at = time.monotonic() + SETTLE_EVERY_S
        try:
            complete = self._beside.complete(self._topics)
        except ServiceError as error:
            log.debug("the group cannot be described", cause=str(error))
            return
        if complete is None:
            return
        self._settling = False
        if not complete:
            log.info("partitions are with no member of the group: joining it anew", topics=self._topics)
            call(self._consumer.unsubscribe)
            call(lambda: self._consumer.subscribe(self._topics, **self._callbacks))

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.assign`."""
        self._assigned = set(partitions)
        for topic in {partition.topic for partition in self._assigned}:
            with suppress(NoAnswerError):
                self.partitions_of(topic)  # where a leader is not known yet, the client waits for half a second
        begin = confluent_kafka.OFFSET_BEGINNING
        call(lambda: self._consumer.assign([_theirs(partition, begin) for partition in self._assigned]))

    def assignment(self) -> set[TopicPartition]:
        """See `Reader.assignment`."""
        return set(self._assigned)

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, list[Any]]:
        """See `Reader.poll`."""
        self._settle()
        messages = call(lambda: self._consumer.consume(self._most, 0))
        if not messages and timeout_ms > 0 and (first := call(lambda: self._consumer.poll(timeout_ms / 1000))) is not None:
            messages = [first, *call(lambda: self._consumer.consume(self._most - 1, 0))]
        found: defaultdict[tuple[str, int], list[Any]] = defaultdict(list)
        for message in messages:
            if message.error() is not None:
                place = message.topic(), message.partition()
                if rescued := self._handle_error(message, found.get(place, ())):
                    found[place].extend(rescued)
                continue
            found[message.topic(), message.partition()].append(
                ConfluentRecord(
                    message.offset(), message.timestamp()[1], message.key(), message.value(), message.headers() or ()
                )
            )
        polled = {TopicPartition(*place): records for place, records in found.items()}
        for partition, records in polled.items():
            self._positions[partition] = max(records[-1].offset + 1, self._positions.get(partition, 0))
        return {partition: records for partition, records in polled.items() if partition in self._assigned}

    def _handle_error(self, message: Any, before: Sequence[Any]) -> list[Any]:
        """Handle an error event; return records that were read beside. `before` are the partition's records just read."""
        error = message.error()
        own = confluent_kafka.KafkaError
        if error.code() in {own._BAD_COMPRESSION, own._BAD_MSG}:  # noqa: SLF001  # their public names
            partition = TopicPartition(message.topic(), message.partition())
            offset = before[-1].offset + 1 if before else self._positions.get(partition, message.offset())
            records = self._read_beside(partition, offset) if partition in self._assigned else []
            if records:
                self.seek(partition, records[-1].offset + 1)
            return records
        if error.code() == own._PARTITION_EOF:  # noqa: SLF001
            self._positions[TopicPartition(message.topic(), message.partition())] = message.offset()
        elif not self._topics and error.code() == own.GROUP_AUTHORIZATION_FAILED:
            # librdkafka looks for the coordinator of the group that it makes us name, though we are in none.
            log.debug("no right to a group, and none needed", cause=error.str())
        elif is_fatal(error) or error.code() > 0:
            raise fault_of_reader(error, message.topic())
        else:  # a broker is away or slow: librdkafka recovers by itself
            log.debug("Kafka client", cause=error.str())
        return []

    def _consumer_beside(self) -> KafkaConsumer:
        if self._other is None:
            self._other = self._beside.consumer()
        return self._other

    def _read_beside(self, partition: TopicPartition, offset: int) -> list[Any]:
        """Return the next record at an offset or after it; nothing where that takes more than `PAST_MS`."""
        other = self._consumer_beside()
        other.assign([partition])
        other.seek(partition, offset)
        found: list[Any] = other.poll(timeout_ms=PAST_MS).get(partition, [])
        return found

    def pause(self, *partitions: TopicPartition) -> None:
        """See `Reader.pause`."""
        if fresh := [_theirs(partition) for partition in partitions if partition not in self._paused]:
            self._paused.update(partitions)
            call(lambda: self._consumer.pause(fresh))

    def resume(self, *partitions: TopicPartition) -> None:
        """See `Reader.resume`."""
        if self._paused and (paused := [_theirs(partition) for partition in partitions if partition in self._paused]):
            self._paused.difference_update(partitions)
            call(lambda: self._consumer.resume(paused))

    def paused(self) -> set[TopicPartition]:
        """See `Reader.paused`."""
        return set(self._paused)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `Reader.seek`."""
        until = time.monotonic() + SEEK_S
        while True:
            if partition not in self._assigned:
                raise NotAssignedError(f"{partition} is not assigned")
            try:
                self._consumer.seek(_theirs(partition, offset))
            except confluent_kafka.KafkaException as error:
                code = error.args[0].code()
                if code != confluent_kafka.KafkaError._STATE or time.monotonic() > until:  # noqa: SLF001
                    found = fault_of_reader(error.args[0])
                    raise found from found.__cause__
                time.sleep(PAUSE_S)
            else:
                self._positions[partition] = offset
                return

    def position(self, partition: TopicPartition) -> int | None:
        """See `Reader.position`."""
        return self._positions.get(partition)

    def highwater(self, partition: TopicPartition) -> int | None:
        """See `Reader.highwater`."""
        try:
            _, high = self._consumer.get_watermark_offsets(_theirs(partition), cached=True)
        except confluent_kafka.KafkaException:
            return None
        return int(high) if high >= 0 else None

    def partitions_of(self, topic: str) -> Collection[int]:
        """See `Reader.partitions_of`."""
        found = call(lambda: self._consumer.list_topics(topic, timeout=TOPIC_S)).topics[topic]
        return () if found.error is not None else set(found.partitions)

    def beginning_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, int]:
        """See `Reader.beginning_offsets`."""
        return {partition: self._ends(partition, timeout_ms)[0] for partition in partitions}

    def end_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, int]:
        """See `Reader.end_offsets`."""
        return {partition: self._ends(partition, timeout_ms)[1] for partition in partitions}

    def _ends(self, partition: TopicPartition, timeout_ms: int) -> tuple[int, int]:
        ends: tuple[int, int] | None = call(
            lambda: self._consumer.get_watermark_offsets(_theirs(partition), timeout=timeout_ms / 1000)
        )
        if ends is None:
            raise NoAnswerError(f"no answer within {timeout_ms} ms")
        return ends

    def first_since(
        self, times_ms: Mapping[TopicPartition, int], timeout_ms: int = ASK_MS
    ) -> dict[TopicPartition, tuple[int, int] | None]:
        """See `Reader.first_since`."""
        return first_since(self._consumer_beside(), times_ms, timeout_ms)

    def committed(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, Committed]:
        """See `Reader.committed`."""
        places = [_theirs(partition) for partition in partitions]
        found = call(lambda: self._consumer.committed(places, timeout=timeout_ms / 1000)) if places else ()
        for one in found:
            if one.error is not None:
                raise fault_of_reader(one.error, one.topic)
        return {_ours(one): Committed(int(one.offset), one.metadata or "") for one in found if one.offset >= 0}

    def commit(self, offsets: Mapping[TopicPartition, Committed], timeout_ms: int = ASK_MS) -> None:
        """See `Reader.commit`."""
        reached = _committed(offsets)
        consumer = self._consumer
        asked = self._asked = Waiting(lambda: consumer.commit(offsets=reached, asynchronous=False))
        if not asked.over(timeout_ms / 1000):
            raise NoAnswerError(f"no answer within {timeout_ms} ms")
        self._asked = None
        call(asked.result)

    def commit_async(self, offsets: Mapping[TopicPartition, Committed], done: Callable[[BrokerError | None], None]) -> None:
        """See `Reader.commit_async`; one at a time."""
        self._committing = done
        call(lambda: self._consumer.commit(offsets=_committed(offsets), asynchronous=True))

    def _on_commit(self, error: Any, partitions: Sequence[Any]) -> None:
        done, self._committing = self._committing, None
        if done is not None:
            worst = error or next((one.error for one in partitions if one.error is not None), None)
            done(None if worst is None else fault_of_reader(worst))

    def member(self) -> Member:
        """See `Reader.member`."""
        self._member = member_of(bytes(call(self._consumer.consumer_group_metadata)))
        self._member_until = time.monotonic() + GENERATION_S
        return self._member

    @property
    def generation(self) -> int:
        """See `Reader.generation`."""
        found = self._member if time.monotonic() < self._member_until else self.member()
        return found.generation_id

    def close(self, timeout_ms: int = 1000) -> None:
        """See `Reader.close`."""
        asked, consumer = self._asked, self._consumer
        if asked is None or asked.over(timeout_ms / 1000):
            consumer.close()
        else:  # nothing may be closed under a call
            Waiting(lambda: asked.over() and consumer.close())
        if self._other is not None:
            self._other.close(autocommit=False)


def member_of(packed: bytes) -> Member:
    r"""Read librdkafka's binary form of a group member.

    Raises `ServiceError` when the form is another one.

    >>> member_of(b"CGMDv2:\x05\x00\x00\x00detect\x00m-1\x00\x01")[:2]
    (5, 'm-1')
    """
    try:
        if not packed.startswith(METADATA):
            raise ValueError("it begins otherwise")  # noqa: TRY301
        (generation,) = struct.unpack_from("=i", packed, len(METADATA))
        _, member, rest = packed[len(METADATA) + 4 :].split(b"\0", 2)
        if not rest:
            raise ValueError("it ends early")  # noqa: TRY301
        return Member(generation, member.decode(), packed)
    except (ValueError, struct.error) as error:
        raise ServiceError(f"this version of confluent-kafka describes members in an unknown form: {error}") from error


def _ours(partition: Any) -> TopicPartition:
    return TopicPartition(partition.topic, partition.partition)


def _theirs(partition: TopicPartition, offset: int | None = None) -> Any:
    if offset is None:
        return confluent_kafka.TopicPartition(partition.topic, partition.partition)
    return confluent_kafka.TopicPartition(partition.topic, partition.partition, offset)


def _committed(offsets: Mapping[TopicPartition, Committed]) -> list[Any]:
    return [
        confluent_kafka.TopicPartition(place.topic, place.partition, one.offset, one.text) for place, one in offsets.items()
    ]
