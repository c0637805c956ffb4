"""State as records: one per client, several where it is large, and one mark per partition that says how far the state goes.

Kafka takes records up to a limit, and the state of a model that is being learned from wide inputs goes far beyond: 512 images
of 224 by 224 pixels are 300 MB. Such a value is cut into parts under keys of their own. The first lies under the key itself
and says in a header how many there are; parts that a later, shorter value leaves behind are not read, and are deleted. Since
all records of a checkpoint are committed together, a reader never meets a mixture.

The *mark* is written with every checkpoint of a partition: the offset that the state has seen, and over how many partitions
clients were dealt. By it a new owner knows that the state is there, that it is whole, and that it belongs to these partitions.

Every record is sealed (see `seal`), and of each key the latest record counts whose seal fits: one that somebody else has
written is left out and reported, and what lay under its key before still counts, unless the topic was compacted since.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from detector.engine.shard import SHARD_KEY, VERSIONS_KEY
from detector.errors import SnapshotError
from detector.service.state.seal import SEAL, Seal

PART_BYTES = 4 * 1024 * 1024
LEAST_PART_BYTES = 16 * 1024  # a topic that takes less than this is of no use
PARTS = "parts"  # header with the number of parts, where there are several
MOST_PARTS = 1 << 20
MOST_STRANGE = 1000  # strange records that are kept, to be told of; more are only counted
MARK_VERSION = 2
MARK = ("", "")  # no model has an empty name

Key = tuple[str, str]  # model and client


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """How far the state of a partition goes: `offset` is the next to process; `partitions` is how many there were.

    `deployment` says under which settings it was written, as `deployment.Deployment` is written.
    """

    version: int
    offset: int
    partitions: int
    deployment: str = ""


class StateRecord(NamedTuple):
    """What lies in the topic; `value` None deletes."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class ForeignRecord(NamedTuple):
    """A record of the topic that does not bear our seal."""

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

    `strange` are records without our seal, the first of `strangers` in all; `lost` are the models whose own state such records
    have destroyed, and which therefore are missing with all their clients.
    """

    values: dict[Key, bytes]
    mark: Mark | None
    parts: dict[Key, int]
    strange: Sequence[ForeignRecord] = ()
    strangers: int = 0
    lost: Sequence[str] = ()


def mark_record(offset: int, partitions: int, deployment: str = "") -> StateRecord:
    """Return the record of a mark."""
    return StateRecord(_packed(MARK, 0), msgspec.msgpack.encode(Mark(MARK_VERSION, offset, partitions, deployment)), [])


def records_of(key: Key, value: bytes, before: int = 1, part_bytes: int | None = None) -> list[StateRecord]:
    """Return the records of a value, of which `before` parts are in the topic; an empty value deletes.

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
    """Return the record with the seal that it has to bear in this partition."""
    own = seal.of(partition, record.key, record.value, _count(record.headers))
    return record._replace(headers=[*record.headers, (SEAL, own)])


class StateReader:
    """Puts a partition's state together from its records, in the order they lie in the topic; nothing that they hold raises."""

    def __init__(self, seal: Seal, partition: int) -> None:
        """Start with nothing."""
        self._seal = seal
        self._partition = partition
        self._held: dict[tuple[str, str, int], bytes] = {}
        self._counts: dict[Key, int] = {}
        self._strange: list[ForeignRecord] = []
        self._strangers = 0

    def take(
        self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]], offset: int = -1
    ) -> None:
        """Take the next record, which lies at `offset`; one without our seal is put aside."""
        headers = list(headers)
        place = _place(key)
        count = _count(headers)
        if key is None or place is None or not self._seal.fits(headers, self._partition, key, value, count):
            self._strangers += 1
            if len(self._strange) < MOST_STRANGE:
                self._strange.append(ForeignRecord(offset, key, value))
            return
        model, client, number = place
        if value is None:
            self._held.pop(place, None)
        else:
            self._held[place] = value
        if number == 0:
            self._counts[model, client] = count

    def done(self) -> State:
        """Return the state. A client that somebody else has destroyed is missing in it.

        Raises `SnapshotError` when a part is missing although every record bears our seal, or the mark is of another version.
        """
        firsts = {(model, client): value for (model, client, number), value in self._held.items() if number == 0}
        parts = {key: count for key in firsts if (count := self._counts[key]) > 1}
        if self._strangers:
            broken = {key for key, count in parts.items() if not self._whole(key, count)}
            firsts = {key: value for key, value in firsts.items() if key not in broken}
            parts = {key: count for key, count in parts.items() if key not in broken}
        values = firsts | {key: b"".join(self._pieces(key, count)) for key, count in parts.items()}
        packed = values.pop(MARK, None)
        clients = {model for model, client in values if client not in {SHARD_KEY, VERSIONS_KEY}}
        lost = sorted(model for model in clients if (model, SHARD_KEY) not in values) if self._strangers else []
        values = {key: value for key, value in values.items() if key[0] not in lost or key[1] == VERSIONS_KEY}
        mark = None if packed is None else _mark(packed)
        return State(values, mark, parts, tuple(self._strange), self._strangers, lost)

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
    """Return how many parts headers speak of; 0, which no value has, where they say nothing sensible."""
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
