"""Lines of a log -> columns: one batch per model, and the records that could not be used.

Events are decoded one by one and checked many at a time. What is cheap to see in a matrix (a number that float32 cannot
hold, a moment in the future, the two largest probabilities) is looked at there, not in every event.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from detector.clock import Clock
from detector.config import Config
from detector.contracts.dead_letter import Reason
from detector.contracts.event import ALL_MISSING
from detector.ingest.batch import Batch, Origin
from detector.ingest.formats.decoder import Decoder, Outcome, Record, several
from detector.ingest.formats.event import Refusal
from detector.ingest.formats.native import NativeDecoder
from detector.ingest.lines import Lines
from detector.ingest.owner import Owner
from detector.ingest.places import Places
from detector.ingest.refused import RefusedQueries, Unusable
from detector.ingest.rows import Row, Rows

if TYPE_CHECKING:
    from detector.ingest.scanner import Scanner

__all__ = ["SCAN_AFTER", "Assembled", "Assembler", "Rejection", "assembler_for"]

SCAN_AFTER: Final = 2000
"""Records that are decoded one by one before scanning begins: by then that has taken some hundredths of a second."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that could not be used: what a dead-letter record is made of.

    `sequence` is its position in the whole stream, as in `Batch`. `record` holds the original bytes; of an oversized
    record only the beginning. `client` and `model` are there where they could still be read. `held` is the record where it is
    one that the decoder had held back, and not the one at that place of the stream.
    """

    sequence: int
    origin: Origin
    reason: Reason
    detail: str
    record: bytes
    client: str | None = None
    model: str | None = None
    held: Record | None = None


class Assembled(NamedTuple):
    """What came of a stretch of records: events in batches, refusals, and which record each stream position came from."""

    batches: list[Batch]
    rejections: list[Rejection]
    places: Places


class Assembler:
    """Turns lines into batches. It holds no events between calls, only caches of bounded size; one per thread.

    `dimensions` declares how long the vectors of a model are; other lengths are refused. For a model that is not
    declared, every length makes a batch of its own, and the engine decides.

    >>> from detector.clock import HeldClock
    >>> assembler = Assembler(HeldClock(1_777_890_700_000))
    >>> line = (b'{"event_id": "e1", "time": 1777890667000, "client": {"id": "acme"}, "model": {"id": "fraud"},'
    ...         b' "input": {"vector": [1, 2.5]}, "output": {"probabilities": [0.25, 0.75]}}')
    >>> (batch,), (rejection,), _ = assembler.assemble([line, b"{}"], "log.jsonl", first_line=1, first_sequence=0)
    >>> batch.model, batch.vector.tolist(), batch.confidence.tolist(), rejection.origin.line, rejection.reason
    ('fraud', [[1.0, 2.5]], [0.75], 2, 'schema')
    """

    def __init__(
        self,
        clock: Clock,
        *,
        max_skew_ms: int = 300_000,
        max_record_bytes: int = 1_048_576,
        dimensions: Mapping[str, int] | None = None,
        decoder: Decoder | None = None,
        secret: int = 0,
        as_told: bool = False,
        scan_after: int = SCAN_AFTER,
    ) -> None:
        """Refuse events more than `max_skew_ms` ahead of `clock` and records of more than `max_record_bytes`.

        `decoder` reads the records, by default as the native format. `secret` is the operator's seed, so that nobody can make
        two different records that pass for one. With `as_told` batches hold what clients were told (`Batch.told`), and not what
        the model said. Usual native records are scanned by compiled code `scan_after` the first ones, with the same result.
        """
        self._clock = clock
        self._as_told = as_told
        self._max_skew_ms = max_skew_ms
        self._max_record_bytes = max_record_bytes
        self._dimensions = dict(dimensions or {})
        self._decoder = NativeDecoder() if decoder is None else decoder
        self._scan_after = scan_after
        self._seen = 0
        self._scanner: Scanner | None = None
        self._refused = RefusedQueries(secret)
        self._rows = Rows(as_told=as_told)

    def assemble_chunk(self, chunk: Lines, *, first_sequence: int) -> Assembled:
        """Assemble a chunk of one or several logs, its damaged line included."""
        damaged = chunk.damaged
        values = chunk.lines if damaged is None else [*chunk.lines, damaged.record]
        refusal = None if damaged is None else Refusal(damaged.reason, damaged.detail)

        def record_at(at: int) -> Record:
            origin = chunk.origin(at)
            return Record(values[at], topic=origin.source, place=origin)

        return self._assemble(_Stretch(values, record_at, chunk.origin, first_sequence, refusal))

    def finish(self, *, first_sequence: int) -> Assembled:
        """Return what comes of the records that the decoder holds back: no other record comes after them."""
        outcomes = self._decoder.flush()
        records = [
            outcome.record if isinstance(outcome, Refusal) and outcome.record is not None else Record(b"")
            for outcome in outcomes
        ]

        def origin(at: int) -> Origin:
            place = records[at].place
            return place if isinstance(place, Origin) else Origin("the end of the log", 1)

        values = [record.value for record in records]
        return self._assemble(_Stretch(values, records.__getitem__, origin, first_sequence), outcomes)

    def held(self) -> Collection[Hashable]:
        """Return the places of the records that the decoder holds back."""
        return self._decoder.held()

    def forget(self, gone: Callable[[Hashable], bool]) -> None:
        """Forget what the decoder holds back of the places that are `gone`: somebody else reads them again."""
        self._decoder.forget(gone)

    def assemble(
        self,
        values: Sequence[bytes],
        source: str,
        *,
        first_line: int,
        first_sequence: int,
        record_at: Callable[[int], Record] | None = None,
    ) -> Assembled:
        """Return the events of consecutive records and what was refused.

        `values` are lines, or values of records of Kafka; `record_at` then gives the whole record, where a decoder wants it.
        Each outcome of the decoder is an event or a rejection. A rejected query whose client and model can be read is an event
        as well, marked as refused, in batches that follow the others.
        Batches come in the order in which their models first appear, events and rejections in the order of the records.
        Record i has the number `first_line` + i in `source`. Stream positions begin with `first_sequence`. Nothing that a
        record may hold raises.
        """

        def origin(at: int) -> Origin:
            return Origin(source, first_line + at)

        return self._assemble(_Stretch(values, record_at or (lambda at: Record(values[at])), origin, first_sequence))

    def _assemble(self, stretch: "_Stretch", flushed: Sequence[Outcome] | None = None) -> Assembled:
        refused: dict[int, Refusal] = {}
        batches = []
        latest = self._clock.now_ms() + self._max_skew_ms
        scanned: dict[tuple[str, int], Batch] = {}
        left: Sequence[int] | None = None
        if flushed is None and self._scans(len(stretch.values)):
            scanned, left = self._scan(stretch, latest)
        outcomes, records = self._outcomes(stretch, left) if flushed is None else (flushed, None)
        groups, length = self._rows.pack(outcomes, refused, left)
        places = Places(stretch.first, length if left is None else len(stretch.values), records)
        for model, dimension in _in_order(scanned, groups, stretch.first):
            rows = groups.get((model, dimension), [])
            declared = self._dimensions.get(model, dimension)
            if declared == dimension:
                batch, bad = self._rows.columns(model, dimension, rows, stretch.first, latest, scanned.get((model, dimension)))
                if len(batch):
                    batches.append(batch)
                for row in bad:
                    refused[row[0]] = self._explain(stretch, places, row, _owner(model, row))
            else:
                detail = f"input: {dimension} numbers where the model takes {declared}"
                refused.update((row[0], Refusal("dimension", detail, _owner(model, row))) for row in rows)
        return self._with_refused(stretch, batches, refused, places, latest)

    def _with_refused(
        self, stretch: "_Stretch", batches: list[Batch], refused: Mapping[int, Refusal], places: Places, latest: int
    ) -> Assembled:
        """Make rejections, and add the refused queries whose client and model can be read."""
        rejections: list[Rejection] = []
        owners: list[Owner | None] = []
        queries: list[Unusable] = []
        earlier: Record | None = None  # the record held back that the last refusal was about
        owner_of: dict[int, Owner | None] = {}  # a record with many refusals is looked at once
        among = 0
        for place, refusal in sorted(refused.items(), key=itemgetter(0)):
            sequence = stretch.first + place
            at, index = places.find(sequence)
            held = refusal.record
            origin, kept = stretch.origin(at), stretch.values[at][: self._max_record_bytes]
            among = among + 1 if held is not None and held is earlier else 0
            earlier = held
            if held is not None:
                places.held[sequence] = held
                index, kept = among, held.value[: self._max_record_bytes]
                origin = held.place if isinstance(held.place, Origin) else origin
            owner = refusal.owner
            if owner is None and held is not None:
                owner = self._decoder.owner(held._replace(value=kept))
            elif owner is None:
                if at not in owner_of:
                    owner_of[at] = self._decoder.owner(stretch.record_at(at)._replace(value=kept))
                owner = owner_of[at]
            client, model = (None, None) if owner is None else (owner.client, owner.model)
            placed = replace(origin, index=index) if index else origin
            if not refusal.further:
                rejections.append(Rejection(sequence, placed, refusal.reason, refusal.detail, kept, client, model, held))
            owners.append(owner)
            queries.append(Unusable(sequence, refusal.reason, kept, index))
        return Assembled(batches + self._refused.batches(queries, owners, batches, latest), rejections, places)

    def _scans(self, records: int) -> bool:
        """Tell whether records are worth scanning: only after some, since loading what scans takes longer than a few do."""
        self._seen += records
        return self._seen > self._scan_after and self._decoder.native and self._decoder.plain is not None and not self._as_told

    def _scan(self, stretch: "_Stretch", latest: int) -> tuple[dict[tuple[str, int], Batch], list[int]]:
        """Return the events of usual native records by model and dimension, and the places of all other records."""
        if self._scanner is None:
            # Imported here: a short log goes without numba.
            from detector.ingest.scanner import Scanner  # noqa: PLC0415

            self._scanner = Scanner(self._rows.sender_of, self._takes, self._max_record_bytes)
        whole = len(stretch.values) - (stretch.damaged is not None)
        batches, left = self._scanner.scan(stretch.values[:whole], stretch.first, latest)
        if stretch.damaged is not None:
            left.append(whole)
        return {(batch.model, batch.vector.shape[1]): batch for batch in batches}, left

    def _takes(self, model: str, dimension: int) -> bool:
        return self._dimensions.get(model, dimension) == dimension

    def _outcomes(self, stretch: "_Stretch", left: Sequence[int] | None = None) -> tuple[Iterable[Outcome], list[int] | None]:
        """Return what the records hold, and the list that the record of each outcome is written to; None: each has one.

        `left`, where given, are the places of the records to look at, the damaged one among them.
        """
        values, damaged = stretch.values, stretch.damaged
        whole = values if damaged is None else values[:-1]
        if left is not None:
            whole = [values[place] for place in (left if damaged is None else left[:-1])]
        plain, limit = self._decoder.plain, self._max_record_bytes
        if plain is None:
            records: list[int] = []
            return self._decoded(stretch, len(whole), records), records
        found: Iterable[Outcome] = map(plain, whole)
        if max(map(len, whole), default=0) > limit:
            found = (plain(value) if len(value) <= limit else self._oversized(value) for value in whole)
        return (found if damaged is None else chain(found, (damaged,))), None

    def _decoded(self, stretch: "_Stretch", whole: int, records: list[int]) -> Iterator[Outcome]:
        decode, limit = self._decoder.decode, self._max_record_bytes
        for at in range(whole):
            value = stretch.values[at]
            outcome = decode(stretch.record_at(at)) if len(value) <= limit else self._oversized(value)
            for one in several(outcome):
                records.append(at)
                yield one
        if stretch.damaged is not None:
            records.append(whole)
            yield stretch.damaged

    def _oversized(self, value: bytes) -> Refusal:
        return Refusal("oversized", f"{len(value)} bytes, more than the limit of {self._max_record_bytes}")

    def _explain(self, stretch: "_Stretch", places: Places, row: Row, owner: Owner) -> Refusal:
        """Say what is wrong with an event whose numbers or time cannot be used."""
        at, index = places.find(stretch.first + row[0])
        found = None if index else self._decoder.explain(stretch.record_at(at))
        if found is not None:
            return replace(found, owner=owner)
        vector = np.frombuffer(row[4], np.float32)
        if infinite := np.flatnonzero(np.isinf(vector)).tolist():
            return Refusal("not_finite", f"input[{infinite[0]}]: not finite in float32", owner)
        if np.isnan(vector).all():
            return Refusal("schema", f"input: {ALL_MISSING}", owner)
        return Refusal("future", f"time: {row[1]} is more than {self._max_skew_ms} ms ahead of the clock", owner)


class _Stretch(NamedTuple):
    """Consecutive records: their values, the whole record and the origin of each, and the stream position of the first.

    Where `damaged` says so, the last of them is refused for that.
    """

    values: Sequence[bytes]
    record_at: Callable[[int], Record]
    origin: Callable[[int], Origin]
    first: int
    damaged: Refusal | None = None


def _in_order(
    scanned: Mapping[tuple[str, int], Batch], groups: Mapping[tuple[str, int], Sequence[Row]], first: int
) -> Iterable[tuple[str, int]]:
    """Return the models and dimensions in the order in which they first appear."""
    if not scanned:
        return groups
    begins = {key: int(batch.sequence[0]) - first for key, batch in scanned.items()}
    for key, rows in groups.items():
        begins[key] = min(rows[0][0], begins.get(key, rows[0][0]))
    return sorted(begins, key=begins.__getitem__)


def _owner(model: str, row: Row) -> Owner:
    _, time, client, event_id, *_, sender, version = row
    return Owner(client, model, version, event_id, int(time), sender)


def assembler_for(
    config: Config,
    learned: Mapping[str, int],
    clock: Clock,
    decoder: Decoder,
    secret: int = 0,
    *,
    as_told: bool = False,
) -> Assembler:
    """Return the assembler that `config` asks for; `learned` are input dimensions by model, those it declares go over them.

    `decoder` is that of files or of Kafka; see `formats.routing`. `as_told` is explained at `Assembler`.
    """
    return Assembler(
        clock,
        max_skew_ms=int(config.engine.max_skew_minutes * 60_000),
        max_record_bytes=config.engine.max_record_bytes,
        dimensions={**learned, **config.dimensions()},
        decoder=decoder,
        secret=secret,
        as_told=as_told,
    )
