"""The codec of state records: one record per client, several where it is large, and one mark per partition.

Kafka accepts records up to a limit, and the state of a model that is being learned from wide inputs exceeds it: 512 images of
224 by 224 pixels are 300 MB. Such a value is cut into parts with their own keys. The first part has the value's key, and a
header with the number of parts. Parts left over from an earlier, longer value are not read, and are deleted. All records of a
checkpoint are committed together, so a reader never sees parts of two values.

The *mark* is written with every checkpoint of a partition. It holds the offset that the state has reached, and the number of
partitions over which clients were spread. From it a new owner knows that the state exists, is complete, and fits the topics.

Every record is sealed (see `seal`). For each key, the latest record with a valid seal counts. A record without one was written
by another program: it is left out and reported. The record before it under the same key still counts, unless the topic was
compacted since.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from detector.engine.shard import SHARD_KEY, VERSIONS_KEY
from detector.errors import SnapshotError
from detector.service.state.seal import SEAL, Seal

PART_BYTES = 4 * 1024 * 1024
LEAST_PART_BYTES = 16 * 1024  # a topic that accepts only smaller records is refused
PARTS = "parts"  # header with the number of parts, if more than one
MOST_PARTS = 1 << 20
MOST_FOREIGN = 1000  # foreign records kept for the report; more are only counted
MARK_VERSION = 2
MARK = ("", "")  # no model has an empty name

Key = tuple[str, str]  # model and client


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """How far the state of a partition goes: `offset` is the next to process, `partitions` the number at that time.

    `deployment` names the settings that it was written under, as the text of a `deployment.Deployment`.
    """

    version: int
    offset: int
    partitions: int
    deployment: str = ""


class StateRecord(NamedTuple):
    """A record of the state topic; `value` None deletes."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class ForeignRecord(NamedTuple):
    """A record of the state topic without a valid seal."""

    offset: int
    key: bytes | None
    value: bytes | None

    @property
    def whose(self) -> str:
        """What it claims to be, for people."""
        place = _place(self.key)
        if place is None:
            return "a key that is none of the state"
        model, client, _ = place
        if (model, client) == MARK:
            return "the mark"
        return f"client {client!r} of model {model!r}" if client not in {SHARD_KEY, VERSIONS_KEY} else f"model {model!r}"


class State(NamedTuple):
    """The state of a partition as it was read: the values by key, the mark, and how many parts the large values have.

    `foreign` are the first of `foreign_count` records without a valid seal. `lost` are the models whose own state such records
    have destroyed; they are missing, with all their clients.
    """

    values: dict[Key, bytes]
    mark: Mark | None
    parts: dict[Key, int]
    foreign: Sequence[ForeignRecord] = ()
    foreign_count: int = 0
    lost: Sequence[str] = ()


def mark_record(offset: int, partitions: int, deployment: str = "") -> StateRecord:
    """Return the record of a mark."""
    return StateRecord(_packed(MARK, 0), msgspec.msgpack.encode(Mark(MARK_VERSION, offset, partitions, deployment)), [])


def records_of(key: Key, value: bytes, before: int = 1, part_bytes: int | None = None) -> list[StateRecord]:
    """Return the records of a value that has `before` parts in the topic; an empty value deletes.

    >>> [len(record.value or b"") for record in records_of(("m", "c"), bytes(9_000_000))]
    [4194304, 4194304, 611392]
    >>> [record.value for record in records_of(("m", "c"), b"", before=2)]
    [None, None]
    """
    size = part_bytes or PART_BYTES
    pieces: list[bytes | None] = [value[at : at + size] for at in range(0, len(value), size)] or [None]
    headers = [(PARTS, str(len(pieces)).encode())] if len(pieces) > 1 else []
    left = [None] * (before - len(pieces))
    return [
        StateRecord(_packed(key, number), piece, headers if number == 0 else [])
        for number, piece in enumerate([*pieces, *left])
    ]


def sealed(record: StateRecord, seal: Seal, partition: int) -> StateRecord:
    """Return the record with its seal for this partition."""
    own = seal.of(partition, record.key, record.value, _count(record.headers))
    return record._replace(headers=[*record.headers, (SEAL, own)])


class StateReader:
    """Assembles a partition's state from its records, taken in the order of the topic; no content of a record raises."""

    def __init__(self, seal: Seal, partition: int) -> None:
        """Start with nothing."""
        self._seal = seal
        self._partition = partition
        self._held: dict[tuple[str, str, int], bytes] = {}
        self._counts: dict[Key, int] = {}
        self._foreign: list[ForeignRecord] = []
        self._foreign_count = 0

    def take(
        self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]], offset: int = -1
    ) -> None:
        """Take the next record, which is at `offset`; one without a valid seal is set aside."""
        headers = list(headers)
        place = _place(key)
        count = _count(headers)
        if key is None or place is None or not self._seal.fits(headers, self._partition, key, value, count):
            self._foreign_count += 1
            if len(self._foreign) < MOST_FOREIGN:
                self._foreign.append(ForeignRecord(offset, key, value))
            return
        model, client, number = place
        if value is None:
            self._held.pop(place, None)
        else:
            self._held[place] = value
        if number == 0:
            self._counts[model, client] = count

    def done(self) -> State:
        """Return the state. A client whose records another program has overwritten is missing in it.

        Raises `SnapshotError` when a part is missing although every seal is valid, or the mark is of another version.
        """
        firsts = {(model, client): value for (model, client, number), value in self._held.items() if number == 0}
        parts = {key: count for key in firsts if (count := self._counts[key]) > 1}
        if self._foreign_count:
            broken = {key for key, count in parts.items() if not self._whole(key, count)}
            firsts = {key: value for key, value in firsts.items() if key not in broken}
            parts = {key: count for key, count in parts.items() if key not in broken}
        values = firsts | {key: b"".join(self._pieces(key, count)) for key, count in parts.items()}
        packed = values.pop(MARK, None)
        clients = {model for model, client in values if client not in {SHARD_KEY, VERSIONS_KEY}}
        lost = sorted(model for model in clients if (model, SHARD_KEY) not in values) if self._foreign_count else []
        values = {key: value for key, value in values.items() if key[0] not in lost or key[1] == VERSIONS_KEY}
        mark = None if packed is None else _mark(packed)
        return State(values, mark, parts, tuple(self._foreign), self._foreign_count, lost)

    def _whole(self, key: Key, count: int) -> bool:
        return all((*key, number) in self._held for number in range(count))

    def _pieces(self, key: Key, count: int) -> Iterator[bytes]:
        for number in range(count):
            piece = self._held.get((*key, number))
            if piece is None:
                raise SnapshotError(f"part {number + 1} of {count} of the state of model {key[0]!r} is missing")
            yield piece


def _packed(key: Key, number: int) -> bytes:
    return msgspec.msgpack.encode((*key, number))


def _place(key: bytes | None) -> tuple[str, str, int] | None:
    """Return model, client and part of a record's key; None where it is no key of the state."""
    try:
        return None if key is None else msgspec.msgpack.decode(key, type=tuple[str, str, int])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _count(headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Return the number of parts that the headers declare; 0 where the header is invalid."""
    texts = [text or b"" for name, text in headers if name == PARTS]
    if not texts:
        return 1
    count = int(texts[0]) if len(texts) == 1 and texts[0].isdigit() and len(texts[0]) < 8 else 0
    return count if count <= MOST_PARTS else 0


def _mark(packed: bytes) -> Mark:
    try:
        version: Any = msgspec.msgpack.decode(packed, type=list[Any])[0]
        if version == MARK_VERSION:
            return msgspec.msgpack.decode(packed, type=Mark)
    except (msgspec.MsgspecError, IndexError) as error:
        raise SnapshotError(f"the mark of the state is damaged: {error}") from error
    raise SnapshotError(
        f"the saved state has a mark of version {version}, this version reads {MARK_VERSION}: "
        "run the version that wrote it, or start without saved state"
    )
