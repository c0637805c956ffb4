"""Client state: one row per client in each of a few dozen arrays, and the snapshot of one row.

Each family of features or evidence declares its columns (see `columns`); here they are allocated, grown, cleared and packed. A
snapshot is the bytes of one client's row, without the places of the memory that are still empty. Its header names the version
of the format, the layout and the reference, so that a row is never read with another meaning. A snapshot holds no code and no
pickle, and it is sent through Kafka.
"""

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from detector.contracts.limits import ID_CHARACTERS
from detector.contracts.moment import LAST_MS
from detector.engine.bounds import check_rows
from detector.engine.columns import DISTANCES, RETAINED, Column, allocate, columns_of
from detector.engine.evidence.accumulate import CHANNELS, AccumulatedEvidence
from detector.engine.evidence.children import Family
from detector.engine.evidence.cooccur import Together
from detector.engine.evidence.registry import EVIDENCE
from detector.engine.evidence.select import Selection
from detector.engine.features.coverage import Coverage
from detector.engine.features.distances import WINDOW
from detector.engine.features.outputs import ResponseFeatures
from detector.engine.features.rate import Rate
from detector.engine.features.row import NAMES
from detector.engine.memory.admission import Admission
from detector.engine.memory.checksums import Checksums
from detector.engine.memory.conduct import Conduct
from detector.engine.memory.metered import Metered
from detector.engine.memory.reservoir import CAPACITY, TABLE_CAPACITY, Memory
from detector.engine.policy import BLOCK
from detector.errors import SnapshotError

SNAPSHOT_VERSION = 3  # 2: numbers keyed by the secret seed, refused queries; 3: three more reasons of refusal
ID_BYTES = 16  # bytes of a remembered id: its key, its event time and its content
NOVELTY = len(CHANNELS)  # place of novelty behind the channels, in `DecisionState`
PLACES = tuple(EVIDENCE)  # types of evidence in the order of `DecisionState.reached`
HARM = PLACES.index("harm")


class DecisionState(NamedTuple):
    """The decision state of each client: what was decided so far, and its last scheduled evaluation.

    `reached` (see `PLACES`) is the highest action each kind of evidence has led to, `reached_at` the query count then, of
    channels and novelty. `held` is the action of the latest decision and `held_until_ms` its end; `revision` is the number of
    decisions and `highest` the highest action ever. `strange` counts consecutive evaluations beyond the novelty threshold.
    `row` are the features at the last evaluation and `novelty` is the score there. `simulated` tells whether the latest
    decision is simulated, and `held_back` the number of the latest episode in which a stop of the client was held back (see
    `guard`). `day` is the latest UTC day, from 1970, on which the client asked.
    """

    reached: Annotated[npt.NDArray[np.uint8], Column(len(PLACES), within=(0, BLOCK))]
    reached_at: Annotated[npt.NDArray[np.uint32], Column(NOVELTY + 1)]
    held: Annotated[npt.NDArray[np.uint8], Column(within=(0, BLOCK))]
    held_until_ms: Annotated[npt.NDArray[np.int64], Column(within=(0, 2 * LAST_MS))]
    revision: Annotated[npt.NDArray[np.uint32], Column()]
    highest: Annotated[npt.NDArray[np.uint8], Column(within=(0, BLOCK))]
    strange: Annotated[npt.NDArray[np.uint8], Column()]
    novelty: Annotated[npt.NDArray[np.float32], Column(within=(-np.inf, np.inf))]
    row: Annotated[npt.NDArray[np.float32], Column(len(NAMES))]
    simulated: Annotated[npt.NDArray[np.uint8], Column(within=(0, 1))]
    held_back: Annotated[npt.NDArray[np.uint8], Column()]
    day: Annotated[npt.NDArray[np.uint32], Column()]


FAMILIES = ("admission", "conduct", "rate", "coverage", "memory", "outputs", "evidence", "standing", "metered")
SAVED_AS = {
    ResponseFeatures: "Outputs",
    AccumulatedEvidence: "Evidence",
    DecisionState: "Standing",
}  # saved state spells these names, which the classes had before


def saved_name(family: type[tuple[Any, ...]]) -> str:
    """Return the name of a family in saved state; the digest of the layout includes it."""
    return SAVED_AS.get(family, family.__name__)


class Columns:
    """The arrays of all families for `capacity` clients.

    Columns used by one kind of input only are allocated for that kind only: `Together` and `Family` for a `table`, `Selection`
    for other inputs, `Checksums` where queries are `summed`. Rows that no client has used take address space but no memory.
    """

    def __init__(
        self,
        capacity: int,
        *,
        retained: int | None = None,
        window: int = WINDOW,
        table: bool = False,
        summed: bool = False,
    ) -> None:
        if retained is None:
            retained = TABLE_CAPACITY if table else CAPACITY
        lengths = {RETAINED: retained, DISTANCES: window}
        self.capacity = capacity
        self.admission = allocate(Admission, capacity)
        self.conduct = allocate(Conduct, capacity)
        self.rate = allocate(Rate, capacity)
        self.coverage = allocate(Coverage, capacity)
        self.memory = allocate(Memory, capacity, lengths)
        self.selection = allocate(Selection, 0 if table else capacity)
        self.checksums = allocate(Checksums, capacity if summed else 0, lengths)
        self.outputs = allocate(ResponseFeatures, capacity)
        self.together = allocate(Together, capacity if table else 0)
        self.family = allocate(Family, capacity if table else 0)
        self.evidence = allocate(AccumulatedEvidence, capacity)
        self.standing = allocate(DecisionState, capacity)
        self.metered = allocate(Metered, capacity)
        self._used = (*FAMILIES, *(("together", "family") if table else ("selection",)), *(("checksums",) if summed else ()))
        self._declared: dict[str, Column] = {}
        for family in self._families():
            kind: type[tuple[Any, ...]] = type(family)
            self._declared |= {f"{saved_name(kind)}.{name}": column for name, (_, column) in columns_of(kind).items()}
        digest = hashlib.sha256()
        for name, array in self._named():
            digest.update(f"{name}{array.dtype.str}{array.shape[1:]};".encode())
        self.layout = digest.hexdigest()[:16]
        self._retained = retained

    def _families(self) -> list[Any]:
        return [getattr(self, family) for family in self._used]

    def _named(self) -> list[tuple[str, npt.NDArray[np.generic]]]:
        return [
            (f"{saved_name(type(family))}.{name}", array)
            for family in self._families()
            for name, array in family._asdict().items()
        ]

    @property
    def bytes_per_client(self) -> int:
        """Memory of one client's row."""
        return sum(array.nbytes // self.capacity for _, array in self._named())

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` clients; rows keep their places."""
        for family in self._used:
            columns = getattr(self, family)
            grown = {}
            for name, array in columns._asdict().items():
                larger = np.zeros((capacity, *array.shape[1:]), array.dtype)
                larger[: self.capacity] = array
                grown[name] = larger
            setattr(self, family, type(columns)(**grown))
        self.capacity = capacity

    def clear(self, slots: npt.NDArray[np.intp]) -> None:
        """Forget the clients at `slots`."""
        for _, array in self._named():
            array[slots] = 0

    def _packed(self, held: int) -> np.dtype[np.void]:
        """Return the layout of a packed row with `held` retained queries: their number, then one column after the other."""
        fields: list[tuple[str, str, tuple[int, ...]]] = [("held", "<u2", ())]
        for name, array in self._named():
            shape = array.shape[1:]
            if (axis := self._declared[name].retained_axis) is not None:
                shape = (*shape[:axis], held, *shape[axis + 1 :])
            fields.append((name, array.dtype.str, shape))
        return np.dtype(fields)

    def _by_retained(self, held: npt.NDArray[np.integer]) -> Iterator[tuple[int, np.dtype[np.void], npt.NDArray[np.intp]]]:
        """Yield each number of retained queries, its packed layout, and the places of the rows with that number."""
        for count in np.unique(held).tolist():
            yield count, self._packed(count), np.flatnonzero(held == count)

    def pack(self, slots: npt.NDArray[np.integer]) -> list[bytes]:
        """Return the bytes of each of these clients' rows, without the places that retain no query."""
        rows = [b""] * len(slots)
        for held, layout, places in self._by_retained(self.memory.held[slots]):
            some = slots[places]
            packed = np.empty(len(some), layout)
            packed["held"] = held
            for name, array in self._named():
                packed[name] = array[self._part(name, some, slice(0, held))]
            joined, size = packed.tobytes(), layout.itemsize
            for i, place in enumerate(places.tolist()):
                rows[place] = joined[i * size : (i + 1) * size]
        return rows

    def unpack(self, slots: npt.NDArray[np.integer], rows: Sequence[bytes]) -> None:
        """Write bytes of `pack` into the rows at `slots`, which must differ.

        Raises `SnapshotError` when their number does not fit this layout or a number in them is out of range; some rows may
        have been written then.
        """
        for held, layout, places in self._lengths_checked(rows):
            packed = np.frombuffer(b"".join([rows[place] for place in places.tolist()]), layout)
            check_rows(packed, self._declared, held, self._retained)
            for name, array in self._named():
                array[self._part(name, slots[places], slice(0, held))] = packed[name]
                if self._declared[name].retained_axis is not None and held < self._retained:
                    array[self._part(name, slots[places], slice(held, None))] = 0

    def peek(self, family: str, column: str, rows: Sequence[bytes]) -> npt.NDArray[np.generic]:
        """Return one column, of one number a client, from bytes of `pack`.

        The other columns are not looked at, so this takes a fraction of what `unpack` takes. Raises `SnapshotError` where the
        length of the bytes does not fit this layout.
        """
        columns = getattr(self, family)
        name = f"{saved_name(type(columns))}.{column}"
        found = np.empty(len(rows), getattr(columns, column).dtype)
        for _, layout, places in self._lengths_checked(rows):
            start = layout.fields[name][1] if layout.fields else 0
            some = [rows[place][start : start + found.itemsize] for place in places.tolist()]
            found[places] = np.frombuffer(b"".join(some), found.dtype)
        return found

    def _lengths_checked(self, rows: Sequence[bytes]) -> Iterator[tuple[int, np.dtype[np.void], npt.NDArray[np.intp]]]:
        """Yield what `_by_retained` does of rows that are as long as their layout; raises `SnapshotError` for others."""
        counts = np.array([int.from_bytes(row[:2], "little") for row in rows], np.int64)
        if len(counts) and int(counts.max()) > self._retained:
            raise SnapshotError("the snapshot holds more than its layout")
        for held, layout, places in self._by_retained(counts):
            lengths = [len(rows[place]) for place in places.tolist()]
            if any(length != layout.itemsize for length in lengths):
                longer = min(lengths) >= layout.itemsize
                raise SnapshotError("the snapshot is longer than its layout" if longer else "the snapshot is cut off")
            yield held, layout, places

    def _part(self, name: str, slots: npt.NDArray[np.integer], retained: slice) -> tuple[Any, ...]:
        """Return the index of these clients' rows in a column, and of these retained queries where the column has any."""
        axis = self._declared[name].retained_axis
        return (slots,) if axis is None else (slots, *(slice(None),) * axis, retained)


EventId: TypeAlias = Annotated[str, msgspec.Meta(max_length=ID_CHARACTERS)]


class ClientSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """One client in serialised form; see `dump` and `load`."""

    version: int
    layout: str
    reference: str
    model: str
    client: str
    row: bytes
    ids: bytes  # for each id in force two 64-bit numbers: its key, and its event time with its content
    check: int  # CRC-32 of the row: a damaged row could index beyond its arrays
    examples: dict[str, list[EventId]]  # channel -> ids of the latest queries that looked constructed


_decoder = msgspec.msgpack.Decoder(ClientSnapshot)


def dump(snapshot: ClientSnapshot) -> bytes:
    """Encode a snapshot (MessagePack)."""
    return msgspec.msgpack.encode(snapshot)


def load(data: bytes, layout: str, reference: str) -> ClientSnapshot:
    """Decode a snapshot and check that its row has the same meaning here as where it was written.

    Raises `SnapshotError` that says what differs: the format's version, the layout, or the reference.
    """
    try:
        snapshot = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _refuse_version(data)
        raise SnapshotError(f"the snapshot is damaged: {error}") from error
    if snapshot.version != SNAPSHOT_VERSION:
        _refuse_version(data)
    if zlib.crc32(snapshot.row) != snapshot.check:
        raise SnapshotError(f"the snapshot of client {snapshot.client!r} is damaged: its check sum does not fit")
    if len(snapshot.ids) % ID_BYTES:
        raise SnapshotError(f"the snapshot of client {snapshot.client!r} is damaged: its ids are cut off")
    if snapshot.reference != reference:
        raise SnapshotError(
            f"the snapshot of client {snapshot.client!r} was written under another baseline "
            f"({snapshot.reference}, now {reference}): its memory of queries has no meaning here"
        )
    if snapshot.layout != layout:
        raise SnapshotError("the snapshot was written with another layout of client state: start without saved state")
    return snapshot


def _refuse_version(data: bytes) -> None:
    """Raise `SnapshotError` unless this is a snapshot of our version, however damaged."""
    try:
        version = msgspec.msgpack.decode(data, type=list)[0]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError, TypeError) as error:
        raise SnapshotError(f"not a client snapshot: {error}") from error
    if version != SNAPSHOT_VERSION:
        raise SnapshotError(
            f"the snapshot has format {version}, this version reads format {SNAPSHOT_VERSION}: "
            "run the version that wrote it, or start without saved state"
        )
