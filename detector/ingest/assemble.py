"""Lines of a log -> columns: one batch per model, and the records that could not be used.

Events are decoded one by one and checked many at a time. What is cheap to see in a matrix (a number that float32 cannot
hold, a moment in the future, the two largest probabilities) is looked at there, not in every event.
"""

import datetime as dt
import math
import struct
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from detector.clock import Clock
from detector.config import Config
from detector.contracts.dead_letter import Reason
from detector.ingest.batch import Batch, Origin, Sender
from detector.ingest.formats.native import NativeDecoder, Refusal
from detector.ingest.lines import Lines
from detector.ingest.refused import RefusedQueries

__all__ = ["Assembler", "Rejection", "assembler_for", "label_code"]

_CACHED_BYTES = 1 << 25
_ENTRY_BYTES = 64  # for each part of a description or label, beside its text
_CACHED_LENGTHS = 1 << 8
_LARGEST = float(np.finfo(np.float32).max)

_Description: TypeAlias = tuple[str | None, bool | None, str | None, str | None, str | None]
_Row: TypeAlias = tuple[int, str | float, str, str, bytes, str | int | None, bytes, float, Sender, str | None]
"""Place among the lines, time (ms, an integer), client, event id, vector (float32), label, probabilities (float64),
weight, sender, version.

The numbers are packed at once: as bytes they stay small and warm, and the decoded list is free for the next event.
"""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that could not be used: what a dead letter is made of.

    `sequence` is its position in the whole stream, as in `Batch`. `record` holds the original bytes; of an oversized
    record only the beginning. `client` and `model` are there where they could still be read.
    """

    sequence: int
    origin: Origin
    reason: Reason
    detail: str
    record: bytes
    client: str | None = None
    model: str | None = None


def label_code(label: str | int) -> int:
    """Return the 32-bit code of a predicted label: CRC-32 of its text, as a signed integer.

    3 and ``"3"`` are the same class, so their codes are equal. In a model of a thousand labels, the probability that
    any two share a code is about one in ten thousand.

    >>> label_code(3) == label_code("3"), label_code("benign")
    (True, -1184549265)
    """
    code = zlib.crc32(str(label).encode(errors="surrogatepass"))
    return code - (1 << 32) if code >> 31 else code


class Assembler:
    """Turns lines into batches. It holds no events between calls, only caches of bounded size; one per thread.

    `dimensions` declares how long the vectors of a model are; other lengths are refused. For a model that is not
    declared, every length makes a batch of its own, and the engine decides.

    >>> from detector.clock import HeldClock
    >>> assembler = Assembler(HeldClock(1_777_890_700_000))
    >>> line = (b'{"event_id": "e1", "time": 1777890667000, "client": {"id": "acme"}, "model": {"id": "fraud"},'
    ...         b' "input": {"vector": [1, 2.5]}, "output": {"probabilities": [0.25, 0.75]}}')
    >>> (batch,), (rejection,) = assembler.assemble([line, b"{}"], "log.jsonl", first_line=1, first_sequence=0)
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
        naive_zone: dt.tzinfo | None = None,
        secret: int = 0,
    ) -> None:
        """Refuse events more than `max_skew_ms` ahead of `clock` and records of more than `max_record_bytes`.

        Times without an offset are local time of `naive_zone`, and refused where that is None. `secret` is the operator's
        seed, so that nobody can make two records that look alike to us.
        """
        self._clock = clock
        self._max_skew_ms = max_skew_ms
        self._max_record_bytes = max_record_bytes
        self._dimensions = dict(dimensions or {})
        self._decoder = NativeDecoder(naive_zone)
        self._refused = RefusedQueries(secret, naive_zone)
        self._codes: _Cache[str | int | None, int] = _Cache()
        self._senders: _Cache[_Description, Sender] = _Cache()
        self._float32 = _Packers("f")
        self._float64 = _Packers("d")

    def assemble_chunk(self, chunk: Lines, *, first_sequence: int) -> tuple[list[Batch], list[Rejection]]:
        """Assemble a chunk of one or several logs, its damaged line included. The sequence grows by ``len(chunk)``."""
        batches, rejections = self._assemble(chunk.lines, chunk.origin, first_sequence)
        damaged = chunk.damaged
        if damaged is not None:
            origin = chunk.origin(len(chunk.lines))
            sequence = first_sequence + len(chunk.lines)
            rejections.append(Rejection(sequence, origin, damaged.reason, damaged.detail, damaged.record))
        return self._with_refused(batches, rejections)

    def assemble(
        self, lines: Sequence[bytes], source: str, *, first_line: int, first_sequence: int
    ) -> tuple[list[Batch], list[Rejection]]:
        """Return the events of consecutive lines and the records refused.

        Every line that can be used is an event, and every other is a rejection. Of those whose client and model can be read
        the query is an event as well, marked as refused, in batches that follow the others.
        Batches come in the order in which their models first appear, events and rejections in the order of the lines.
        Line i has the number `first_line` + i in `source` and the sequence `first_sequence` + i. Nothing that a line
        may hold raises.
        """
        return self._with_refused(*self._assemble(lines, lambda place: Origin(source, first_line + place), first_sequence))

    def _assemble(
        self, lines: Sequence[bytes], origin: Callable[[int], Origin], first_sequence: int
    ) -> tuple[list[Batch], list[Rejection]]:
        refused: dict[int, Refusal] = {}
        batches = []
        latest = self._clock.now_ms() + self._max_skew_ms
        for (model, dimension), rows in self._decode(lines, refused).items():
            declared = self._dimensions.get(model, dimension)
            if declared == dimension:
                batch, bad = self._columns(model, dimension, rows, first_sequence, latest)
                if len(batch):
                    batches.append(batch)
                for place in bad:
                    refused[place] = self._explain(lines[place])
            else:
                refusal = Refusal("dimension", f"input: {dimension} numbers where the model takes {declared}")
                refused.update(dict.fromkeys((row[0] for row in rows), refusal))
        rejections = [
            Rejection(
                first_sequence + place,
                origin(place),
                refusal.reason,
                refusal.detail,
                lines[place][: self._max_record_bytes],
            )
            for place, refusal in sorted(refused.items(), key=lambda item: item[0])
        ]
        return batches, rejections

    def _with_refused(self, batches: list[Batch], rejections: list[Rejection]) -> tuple[list[Batch], list[Rejection]]:
        """Add the refused queries whose client and model can be read, and name these in the rejections."""
        latest = self._clock.now_ms() + self._max_skew_ms
        owners = self._refused.owners([rejection.record for rejection in rejections])
        named = [
            rejection if owner is None else replace(rejection, client=owner.client, model=owner.model)
            for rejection, owner in zip(rejections, owners, strict=True)
        ]
        places = [(rejection.sequence, rejection.reason, rejection.record) for rejection in rejections]
        return batches + self._refused.batches(places, owners, batches, latest), named

    def _decode(self, lines: Sequence[bytes], refused: dict[int, Refusal]) -> dict[tuple[str, int], list[_Row]]:
        """Group the events by model and dimension."""
        decode, float32, float64, senders = self._decoder.decode, self._float32, self._float64, self._senders
        limit = self._max_record_bytes
        some_too_long = max(map(len, lines), default=0) > limit
        groups: dict[tuple[str, int], list[_Row]] = {}
        for place, line in enumerate(lines):
            if some_too_long and len(line) > limit:
                refused[place] = Refusal("oversized", f"{len(line)} bytes, more than the limit of {limit}")
                continue
            event = decode(line)
            if isinstance(event, Refusal):
                refused[place] = event
                continue
            query, answer, model, client = event.input, event.output, event.model, event.client
            numbers = query.vector
            if numbers is None:
                vector = query.vector_b64 or b""
            else:
                try:
                    vector = float32[len(numbers)](*numbers)
                except struct.error:  # a missing value
                    vector = float32[len(numbers)](*(math.nan if number is None else number for number in numbers))
            key = model.id, len(vector) // 4
            rows = groups.get(key)
            if rows is None:
                rows = groups[key] = []
            chances = answer.probabilities
            described = (client.type, client.trusted, client.organization, client.ip, client.user_agent)
            rows.append(
                (
                    place,
                    event.time,
                    client.id,
                    event.event_id,
                    vector,
                    answer.label,
                    b"" if chances is None else float64[len(chances)](*chances),
                    event.sampled_rate or 1.0,
                    senders.get(described) or self._sender(described),
                    model.version,
                )
            )
        return groups

    def _columns(
        self, model: str, dimension: int, rows: list[_Row], first_sequence: int, latest: int
    ) -> tuple[Batch, list[int]]:
        """Make a batch of the good rows; the columns also show which are bad, and their places are returned."""
        places, times, clients, event_ids, vectors, labels, probabilities, weights, senders, versions = zip(*rows, strict=True)
        time = np.array(times, dtype=np.int64)
        # A bytearray, because an array over bytes cannot be written to and is another type to a compiled kernel.
        vector = np.frombuffer(bytearray().join(vectors), dtype=np.float32).reshape(len(rows), dimension)
        top_class, confidence, runner_up = _top_two(probabilities)
        batch = Batch(
            model=model,
            sequence=np.array(places, dtype=np.int64) + first_sequence,
            time=time,
            client=clients,
            event_id=event_ids,
            vector=vector,
            label=self._label_codes(labels, top_class),
            confidence=confidence,
            runner_up=runner_up,
            weight=np.minimum(np.array(weights), _LARGEST).astype(np.float32),
            sender=senders,
            version=versions,
            refused=np.zeros(len(rows), np.uint8),
            digest=np.zeros(len(rows), np.uint64),
        )
        good = ~np.isinf(vector).any(axis=1) & ~np.isnan(vector).all(axis=1) & (time <= latest)
        if good.all():
            return batch, []
        return batch.take(np.flatnonzero(good)), [places[row] for row in np.flatnonzero(~good)]

    def _explain(self, line: bytes) -> Refusal:
        found = self._decoder.read_slowly(line)
        if isinstance(found, Refusal):
            return found
        return Refusal("future", f"time: {found.time} is more than {self._max_skew_ms} ms ahead of the clock")

    def _label_codes(self, labels: Sequence[str | int | None], top_class: npt.NDArray[np.intp]) -> npt.NDArray[np.int32]:
        known = labels
        if None in labels:
            known = [int(top) if label is None else label for label, top in zip(labels, top_class, strict=True)]
        codes = self._codes
        try:
            return np.array([codes[label] for label in known], dtype=np.int32)
        except KeyError:
            seen = set(known)
            codes.make_room(sum(map(_size, seen - codes.keys())))
            codes.update((label, label_code(label)) for label in seen if label is not None)
            return np.array([codes[label] for label in known], dtype=np.int32)

    def _sender(self, described: _Description) -> Sender:
        """Keep one object for the same description, so that a million events hold a few thousand of them."""
        self._senders.make_room(sum(map(_size, described)))
        kind, trusted, organization, ip, user_agent = described
        sender = self._senders[described] = Sender(kind, trusted, organization, ip, user_agent)
        return sender


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Cache(dict[_Key, _Value]):
    """A dictionary that is emptied when its texts, which callers choose, have filled `_CACHED_BYTES`."""

    def __init__(self) -> None:
        super().__init__()
        self._held = 0

    def make_room(self, size: int) -> None:
        """Be told that entries of so many bytes will come."""
        if self._held + size > _CACHED_BYTES:
            self.clear()
            self._held = 0
        self._held += size


def _size(part: str | int | None) -> int:
    return _ENTRY_BYTES + (sys.getsizeof(part) if isinstance(part, str) else 0)


class _Packers(dict[int, Callable[..., bytes]]):
    """Per length, the function that packs so many numbers; what float32 cannot hold becomes infinite.

    Native byte order: the base64 form is little-endian, and so is every machine that this runs on.
    """

    def __init__(self, code: str) -> None:
        super().__init__()
        self._code = code

    def __missing__(self, length: int) -> Callable[..., bytes]:
        if len(self) >= _CACHED_LENGTHS:
            self.clear()
        pack = self[length] = struct.Struct(f"{length}{self._code}").pack
        return pack


def _top_two(
    probabilities: Sequence[bytes],
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the index of the largest probability, and the two largest; each of shape (n,), 0 and NaN where unknown."""
    n = len(probabilities)
    top_class = np.zeros(n, dtype=np.intp)
    largest = np.full((2, n), np.nan, dtype=np.float32)
    sizes = np.array([len(row) for row in probabilities])
    for size in set(sizes.tolist()) - {0}:
        here = np.flatnonzero(sizes == size)
        values = np.frombuffer(b"".join([probabilities[i] for i in here.tolist()]), dtype=np.float64).reshape(
            len(here), size // 8
        )
        if size == 8:  # the probability of the first of two classes
            values = np.concatenate([values, 1 - values], axis=1)
        top_class[here] = values.argmax(axis=1)
        largest[:, here] = np.partition(values, -2, axis=1)[:, :-3:-1].T
    return top_class, largest[0], largest[1]


def assembler_for(config: Config, learned: Mapping[str, int], clock: Clock, secret: int = 0) -> Assembler:
    """Return the assembler that `config` asks for; `learned` are input dimensions by model, those it declares go over them."""
    return Assembler(
        clock,
        max_skew_ms=int(config.engine.max_skew_minutes * 60_000),
        max_record_bytes=config.engine.max_record_bytes,
        dimensions={**learned, **config.dimensions()},
        naive_zone=config.engine.naive_zone,
        secret=secret,
    )
