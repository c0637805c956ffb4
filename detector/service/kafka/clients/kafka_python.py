"""kafka-python behind `protocol`: the client that is always installed, written in Python.

It mends a few faults of the client (3.0.12): see `mended`, `_Membership` and `PythonWriter.drop`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors
from kafka.consumer.subscription_state import ConsumerRebalanceListener
from kafka.coordinator.base import MemberState

from detector.errors import BrokerError, MemberFencedError, NotAssignedError
from detector.service.kafka.clients.faults import fault_of, ours
from detector.service.kafka.clients.protocol import ASK_MS, Committed, Header, Member, PartitionOwner

__all__ = ["PythonReader", "PythonWriter", "dropped", "mended"]

SEND_MS = 45_000  # that the first record to a topic may wait for what the broker says of it


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client ships without types
    """Tells the owner about assignments; called from the client's own thread."""

    def __init__(self, owner: PartitionOwner) -> None:
        self._owner = owner

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._owner.gained(assigned)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._owner.giving_up(revoked)

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._owner.lost(lost)


class PythonReader:
    """A `Reader` of kafka-python's."""

    def __init__(self, consumer: KafkaConsumer, *, static: bool) -> None:
        """Read with a consumer that is `mended`; `static` says that it is a static member of its group."""
        self._consumer = consumer
        self._membership = _Membership(consumer, static=static)

    def subscribe(self, topics: Collection[str], owner: PartitionOwner | None = None) -> None:
        """See `Reader.subscribe`."""
        with ours():
            self._consumer.subscribe(list(topics), listener=None if owner is None else _Listener(owner))

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """See `Reader.assign`."""
        partitions = list(partitions)
        with ours():
            self._consumer.assign(partitions)
            self._consumer.seek_to_beginning(*partitions)

    def assignment(self) -> set[TopicPartition]:
        """See `Reader.assignment`."""
        found: set[TopicPartition] = self._consumer.assignment()
        return found

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, list[Any]]:
        """See `Reader.poll`."""
        try:
            found: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=timeout_ms)
            self._membership.settle()
        except kafka_errors.KafkaError as error:
            raise fault_of(error) from error
        return found

    def pause(self, *partitions: TopicPartition) -> None:
        """See `Reader.pause`."""
        with ours():
            self._consumer.pause(*partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """See `Reader.resume`."""
        with ours():
            self._consumer.resume(*partitions)

    def paused(self) -> set[TopicPartition]:
        """See `Reader.paused`."""
        found: set[TopicPartition] = self._consumer.paused()
        return found

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """See `Reader.seek`."""
        try:
            self._consumer.seek(partition, offset)
        except (kafka_errors.IllegalStateError, AssertionError, KeyError, ValueError) as error:
            raise NotAssignedError(f"{partition} is not assigned") from error

    def position(self, partition: TopicPartition) -> int | None:
        """See `Reader.position`."""
        try:
            found: int | None = self._consumer.position(partition, timeout_ms=0)
        except kafka_errors.KafkaTimeoutError:
            return None
        except kafka_errors.KafkaError as error:
            raise fault_of(error) from error
        return found

    def highwater(self, partition: TopicPartition) -> int | None:
        """See `Reader.highwater`."""
        found: int | None = self._consumer.highwater(partition)
        return found

    def partitions_of(self, topic: str) -> Collection[int]:
        """See `Reader.partitions_of`."""
        cluster = self._consumer._cluster  # noqa: SLF001  # the public method waits for unknown topics
        return cluster.partitions_for_topic(topic) or ()

    def beginning_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, int]:
        """See `Reader.beginning_offsets`."""
        with ours():
            found: dict[TopicPartition, int] = self._consumer.beginning_offsets(list(partitions), timeout_ms=timeout_ms)
        return found

    def end_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, int]:
        """See `Reader.end_offsets`."""
        with ours():
            found: dict[TopicPartition, int] = self._consumer.end_offsets(list(partitions), timeout_ms=timeout_ms)
        return found

    def first_since(
        self, times_ms: Mapping[TopicPartition, int], timeout_ms: int = ASK_MS
    ) -> dict[TopicPartition, tuple[int, int] | None]:
        """See `Reader.first_since`."""
        return first_since(self._consumer, times_ms, timeout_ms)

    def committed(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, Committed]:
        """See `Reader.committed`."""
        coordinator = self._consumer._coordinator  # noqa: SLF001  # the public method asks for one partition at a time
        with ours():
            found = coordinator.fetch_committed_offsets(sorted(partitions), timeout_ms=timeout_ms)
        return {place: Committed(one.offset, one.metadata or "") for place, one in found.items() if one.offset >= 0}

    def commit(self, offsets: Mapping[TopicPartition, Committed], timeout_ms: int = ASK_MS) -> None:
        """See `Reader.commit`."""
        with ours():
            self._consumer.commit(_theirs(offsets), timeout_ms=timeout_ms)

    def commit_async(self, offsets: Mapping[TopicPartition, Committed], done: Callable[[BrokerError | None], None]) -> None:
        """See `Reader.commit_async`."""

        def told(_: Any, outcome: Any) -> None:
            done(fault_of(outcome) if isinstance(outcome, Exception) else None)

        with ours():
            self._consumer.commit_async(_theirs(offsets), told)

    def member(self) -> Member:
        """See `Reader.member`."""
        found = self._consumer.group_metadata()
        return Member(int(found.generation_id), found.member_id, found)

    @property
    def generation(self) -> int:
        """See `Reader.generation`."""
        return int(self._consumer.group_metadata().generation_id)

    def close(self, timeout_ms: int = 1000) -> None:
        """See `Reader.close`."""
        with ours():
            self._consumer.close(autocommit=False, timeout_ms=timeout_ms)


class _Delivery:
    """A `Delivery` of kafka-python's."""

    __slots__ = ("_future",)

    def __init__(self, future: Any) -> None:
        self._future = future

    @property
    def is_done(self) -> bool:
        return bool(self._future.is_done)

    @property
    def error(self) -> BrokerError | None:
        return fault_of(self._future.exception) if self._future.failed() else None

    def wait(self, timeout_s: float) -> None:
        with ours():
            self._future.get(timeout=timeout_s)


class PythonWriter:
    """A `TransactionalWriter` of kafka-python's.

    The client waits for the broker without limit when it sends offsets and when it commits. So what it waits for is asked for
    here, and waited for in slices.
    """

    def __init__(self, producer: KafkaProducer) -> None:
        """Send through a producer; for transactions it needs a transactional id and waits a moment at most (`max_block_ms`)."""
        self._producer = producer
        self._asked: Any = None

    def send(
        self,
        topic: str,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: Sequence[Header] = (),
        partition: int | None = None,
    ) -> _Delivery:
        """See `Writer.send`."""
        try:
            return _Delivery(self._producer.send(topic, key=key, value=value, headers=list(headers), partition=partition))
        except kafka_errors.KafkaError as error:
            raise fault_of(error) from error

    def serve(self) -> None:
        """See `Writer.serve`: the client has a thread for that."""

    def flush(self, timeout_s: float) -> None:
        """See `Writer.flush`."""
        with ours():
            self._producer.flush(timeout=timeout_s)

    @property
    def broken(self) -> bool:
        """See `Writer.broken`: known of no error but that of a record that is too large, which its caller knows."""
        return False

    def close(self, timeout_s: float) -> None:
        """See `Writer.close`."""
        try:
            self._producer.close(timeout=timeout_s)
        except kafka_errors.KafkaError:
            dropped(self._producer)

    def drop(self) -> None:
        """See `Writer.drop`."""
        dropped(self._producer)

    def start(self, patience_s: float) -> bool:
        """See `TransactionalWriter.start`."""
        self._producer.config["max_block_ms"] = int(1000 * patience_s)
        try:
            self._producer.init_transactions()
        except kafka_errors.KafkaTimeoutError:
            return False
        except kafka_errors.KafkaError as error:
            raise fault_of(error) from error
        self._producer.config["max_block_ms"] = SEND_MS
        return True

    def begin(self) -> None:
        """See `TransactionalWriter.begin`."""
        self._asked = None
        with ours():
            self._producer.begin_transaction()

    def add_offsets(self, offsets: Mapping[TopicPartition, int], member: Member, patience_s: float) -> bool:
        """See `TransactionalWriter.add_offsets`."""
        reached = {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()}
        manager = self._producer._transaction_manager  # noqa: SLF001  # the public methods wait without limit
        return self._ask(partial(manager.send_offsets_to_transaction, reached, member.own), patience_s)

    def commit(self, patience_s: float) -> bool:
        """See `TransactionalWriter.commit`."""
        return self._ask(self._producer._transaction_manager.begin_commit, patience_s)  # noqa: SLF001

    def _ask(self, ask: Callable[[], Any], patience_s: float) -> bool:
        with ours():
            if self._asked is None:
                self._asked = ask()
                self._producer._sender.wakeup()  # noqa: SLF001
            if not self._asked.wait(timeout_ms=int(1000 * patience_s)):
                return False
        self._asked = None
        return True


class _Membership:
    """Watches a consumer's membership, and keeps partitions of a static member from staying unassigned.

    Cooperative assignment takes two rebalances. In the first, a member learns which partitions to give up. It then requests
    the second, which gives them to another member. If a static member dies between the two, its successor has the same name
    and gets the reduced assignment without a rebalance. It triggers no second rebalance, so the revoked partitions stay
    unassigned until the group changes for another reason. Therefore each static member requests one rebalance after it has
    joined. It moves nothing where all partitions are assigned.
    """

    def __init__(self, consumer: KafkaConsumer, *, static: bool) -> None:
        self._consumer = consumer
        self._static = static
        self._owes_rebalance = static

    def settle(self) -> None:
        """Request the rebalance that a static member owes; call it between polls.

        Raises `MemberFencedError` when another process has joined under the name of this static member. The client then ends
        its heartbeats, but reports it with the next commit only, which a member without work never makes.
        """
        if not self._static:
            return
        coordinator = self._consumer._coordinator  # noqa: SLF001  # there is no public way
        with coordinator._lock:  # noqa: SLF001
            resting = coordinator.state is MemberState.STABLE and not coordinator.rejoining
            if resting and not coordinator._heartbeat_enabled:  # noqa: SLF001
                raise MemberFencedError("its heartbeat was refused: the name belongs to another process")
        if self._owes_rebalance and self._consumer.group_metadata().state is MemberState.STABLE:
            self._owes_rebalance = False
            coordinator.request_rejoin()


def first_since(
    consumer: KafkaConsumer, times_ms: Mapping[TopicPartition, int], timeout_ms: int
) -> dict[TopicPartition, tuple[int, int] | None]:
    """Ask as `Reader.first_since` does."""
    with ours():
        found = consumer.offsets_for_times(dict(times_ms), timeout_ms=timeout_ms)
    return {place: None if first is None else (first.offset, first.timestamp) for place, first in found.items()}


def dropped(producer: KafkaProducer) -> None:
    """Close a producer at once; unsent records are dropped.

    The client's own `close` raises while records are in flight, and its thread would go on sending.
    """
    producer._sender.force_close()  # noqa: SLF001  # there is no public way
    with suppress(kafka_errors.KafkaError):
        producer.close(timeout=1)


def mended(consumer: KafkaConsumer) -> KafkaConsumer:
    """Return a consumer without three faults of kafka-python 3.0.12; see the functions below."""
    _keep_joins(consumer)
    _fetch_again(consumer)
    _ask_once(consumer)
    return consumer


def _theirs(offsets: Mapping[TopicPartition, Committed]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {partition: OffsetAndMetadata(one.offset, one.text, -1) for partition, one in offsets.items()}


def _fetch_again(consumer: KafkaConsumer) -> None:
    """Let a partition resume that was paused while its last fetch was half read.

    kafka-python 3.0.12 sets the rest of that fetch aside, and returns to it only if no other partition was read in between.
    Otherwise the partition stops for ever. The cause: it tests whether the current fetch is None, but keeps a used-up fetch
    there. So a used-up fetch is cleared.
    """
    fetcher = consumer._fetcher  # noqa: SLF001  # there is no public way
    fetched = fetcher.fetched_records

    def fetched_records(*args: Any, **options: Any) -> Any:
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001
        return fetched(*args, **options)

    fetcher.fetched_records = fetched_records


def _ask_once(consumer: KafkaConsumer) -> None:
    """Skip the lookup of the group coordinator in each poll while it is known: it costs as much as a fetch."""
    coordinator = consumer._coordinator  # noqa: SLF001  # there is no public way
    ensure = coordinator.ensure_coordinator_ready

    def ensure_coordinator_ready(timeout_ms: float | None = None) -> bool:
        return not coordinator.coordinator_unknown() or bool(ensure(timeout_ms=timeout_ms))

    coordinator.ensure_coordinator_ready = ensure_coordinator_ready


def _keep_joins(consumer: KafkaConsumer) -> None:
    """Keep a group join that completes between two polls, as most do when polls are short.

    kafka-python 3.0.12 drops such a join and joins again. The other members then have to join again, too, and the group hardly
    settles. So the result of a join is kept until the client has used it, which its state shows. A second bug: a leader that
    joins because the topics changed forgets its join and keeps its old partitions for ever. So the join is requested again.
    """
    coordinator = consumer._coordinator  # noqa: SLF001  # there is no public way
    join = coordinator._do_join_and_sync_async  # noqa: SLF001
    kept: list[Any] = []

    async def join_once() -> Any:
        if coordinator.state is not MemberState.REBALANCING:
            kept.clear()
        coordinator.request_rejoin()  # until it is done
        if not kept:
            kept.append(await join())
        return kept[-1]

    coordinator._do_join_and_sync_async = join_once  # noqa: SLF001
