"""What the service needs of a Kafka client.

A `Reader` is for one thread; its owner is told of partitions from within `poll`. A `Writer` may be used from several threads.
Nothing is committed that was not asked for, aborted transactions are not seen, and a record is never doubled by the client's
own retries. Everything raises errors of our own: `BrokerError` and what is below it in `detector.errors`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from kafka import TopicPartition

from detector.errors import BrokerError

__all__ = [
    "Committed",
    "Delivery",
    "Header",
    "Member",
    "PartitionOwner",
    "ReadRecord",
    "Reader",
    "TransactionalWriter",
    "Writer",
]

Header = tuple[str, bytes]
ASK_MS = 30_000


class ReadRecord(Protocol):
    """A record that was read. `value` is None for one that deletes its key; `timestamp` is in ms since 1970."""

    @property
    def offset(self) -> int: ...  # fields
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]] | None: ...


class Committed(NamedTuple):
    """An offset that a group has committed, and the text that was committed with it."""

    offset: int
    text: str = ""


class Member(NamedTuple):
    """What a transaction has to say of a member of a group; `own` is the client's form of it."""

    generation_id: int
    member_id: str
    own: Any = None


class PartitionOwner(Protocol):
    """The object that takes partitions over and gives them up."""

    def gained(self, partitions: Iterable[TopicPartition]) -> None:
        """Own these partitions from now on."""

    def giving_up(self, partitions: Iterable[TopicPartition]) -> None:
        """Commit their state, since another member gets them next."""

    def lost(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget them: another member has them already."""


class Reader(Protocol):
    """Reads partitions: those that its group gives it (`subscribe`), or those that it is told to (`assign`)."""

    def subscribe(self, topics: Collection[str], owner: PartitionOwner | None = None) -> None:
        """Join the group."""

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these, from their beginning, in no group."""

    def assignment(self) -> set[TopicPartition]:
        """Return the partitions that are ours."""

    def poll(self, timeout_ms: int) -> Mapping[TopicPartition, list[Any]]:
        """Return the records that have arrived, waiting for the first one; see `ReadRecord`.

        Raises `MemberFencedError` when another process has joined under our name.
        """

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch no more of these partitions; costs nothing where they are paused."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch these partitions again; costs nothing where they are not paused."""

    def paused(self) -> set[TopicPartition]:
        """Return the partitions that are paused."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at an offset; raises `NotAssignedError` when the partition is not ours."""

    def position(self, partition: TopicPartition) -> int | None:
        """Return the offset of the next record, where it is known. Never waits."""

    def highwater(self, partition: TopicPartition) -> int | None:
        """Return the offset behind the last record, as far as is known. Never waits."""

    def partitions_of(self, topic: str) -> Collection[int]:
        """Return the numbers of a topic's partitions; none where they are not known yet."""

    def beginning_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, int]:
        """Return the first offset of each partition."""

    def end_offsets(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, int]:
        """Return the offset behind the last settled record of each partition."""

    def first_since(
        self, times_ms: Mapping[TopicPartition, int], timeout_ms: int = ASK_MS
    ) -> dict[TopicPartition, tuple[int, int] | None]:
        """Return offset and time of each partition's first record that is not older; None where there is none."""

    def committed(self, partitions: Iterable[TopicPartition], timeout_ms: int = ASK_MS) -> dict[TopicPartition, Committed]:
        """Return what the group has committed; partitions without anything are left out.

        Raises `NoAnswerError` also while a transaction holds the offset of one of them.
        """

    def commit(self, offsets: Mapping[TopicPartition, Committed], timeout_ms: int = ASK_MS) -> None:
        """Commit, and wait for it."""

    def commit_async(self, offsets: Mapping[TopicPartition, Committed], done: Callable[[BrokerError | None], None]) -> None:
        """Commit; `done` is called from within a later `poll`."""

    def member(self) -> Member:
        """Return what a transaction needs to know about us, as of now."""

    @property
    def generation(self) -> int:
        """The generation of the group that we know of, at most a tenth of a second old; below 0 before we have joined."""

    def close(self, timeout_ms: int = 1000) -> None:
        """Leave the group; nothing is committed. A static member stays in it until its session ends."""


class Delivery(Protocol):
    """A record on its way."""

    @property
    def is_done(self) -> bool:
        """Whether it is known what came of it."""

    @property
    def error(self) -> BrokerError | None:
        """Why it was not taken; None where it was, or where that is not known yet."""

    def wait(self, timeout_s: float) -> None:
        """Wait until it is acknowledged; raises its error, and `NoAnswerError` after `timeout_s`."""


class Writer(Protocol):
    """Sends records, each acknowledged by all replicas."""

    def send(
        self,
        topic: str,
        key: bytes | None = None,
        value: bytes | None = None,
        headers: Sequence[Header] = (),
        partition: int | None = None,
    ) -> Delivery:
        """Send a record. Without `partition` the key selects it, as it does in Kafka's own client.

        Raises `RecordTooLargeError` for one that is larger than the client takes, and `DeniedError`.
        """

    def serve(self) -> None:
        """Take note of what was acknowledged since; never waits. Raises `BrokerError` when it is broken."""

    def flush(self, timeout_s: float) -> None:
        """Wait until it is known what came of every record; raises `NoAnswerError` after `timeout_s`."""

    @property
    def broken(self) -> bool:
        """Whether it can send nothing any more, so that another one is needed."""

    def close(self, timeout_s: float) -> None:
        """Send what is left for as long as that, and drop the rest."""

    def drop(self) -> None:
        """Close at once; records that were not sent yet never will be."""


class TransactionalWriter(Writer, Protocol):
    """Sends records in transactions. What takes longer than `patience_s` returns False and is to be called again."""

    def start(self, patience_s: float) -> bool:
        """Get ready; a transaction that is open under our transactional id is aborted."""

    def begin(self) -> None:
        """Begin a transaction."""

    def add_offsets(self, offsets: Mapping[TopicPartition, int], member: Member, patience_s: float) -> bool:
        """Add offsets of a group, as one of its members; raises `CommitRefusedError` when the group has moved on."""

    def commit(self, patience_s: float) -> bool:
        """Commit the transaction."""
