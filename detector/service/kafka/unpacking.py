"""Unpacking what Kafka delivers, within bounds: a compressed batch may be a thousand times as large as what was sent.

The client unpacks a batch whole, whatever comes out: 300 KB on the wire become a record of 300 MB, and 1 MB a gigabyte. So
batches are unpacked here, up to `LARGEST_BATCH`, and what one poll returns is bounded as well, since a fetch may hold thousands
of batches. A batch that goes beyond, or that cannot be read, comes out as one record, at the offset of its last one, whose
value is `Packed`: the batch as it lies in the topic, with what is known of it. It is no JSON and no record of ours, so it ends
among the dead letters, and reading goes on behind it.
"""

import zlib
from collections.abc import Iterator
from typing import Any, Final, Literal

import zstandard
from kafka import KafkaConsumer
from kafka import codec as codecs
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.record.default_records import DefaultRecord, DefaultRecordBatch
from kafka.record.legacy_records import LegacyRecord, LegacyRecordBatch

from detector.service.kafka.topics import LARGEST_RECORD

LARGEST_BATCH: Final = 4 * LARGEST_RECORD  # bytes unpacked; a topic of ours takes a quarter of it, and producers stay far below
ENOUGH_BYTES: Final = LARGEST_RECORD  # of values that one poll returns; the record that goes beyond it is the last
_CHUNK: Final = 1024 * 1024
_LAYOUT: Final = ()  # fields besides the client's own: none, so that a batch of the client's can become one of ours
_GZIP: Final = 31  # zlib: expect the head and the tail of gzip


class Packed(bytes):
    """A batch that was not unpacked, as it lies in the topic: `first` is the offset it begins at, `detail` says why."""

    first: int
    reason: Literal["oversized", "encoding"]
    detail: str


class TooLargeError(CorruptRecordError):  # type: ignore[misc]  # the client ships without types
    """A batch is larger, unpacked, than is taken."""


def unpacked(codec: int, data: bytes, most: int = LARGEST_BATCH) -> bytearray:
    """Return what a batch's records are unpacked.

    Raises `TooLargeError` when that is more than `most` bytes, of which no more are held; `CorruptRecordError` for what cannot
    be unpacked; `UnsupportedCodecError` where the library for it is not installed.

    >>> import gzip
    >>> unpacked(1, gzip.compress(b"abc"), most=3)
    bytearray(b'abc')
    >>> unpacked(1, gzip.compress(b"abcd"), most=3)
    Traceback (most recent call last):
    detector.service.kafka.unpacking.TooLargeError: [Error 2] TooLargeError: it unpacks to more than 3 bytes
    """
    out = bytearray()
    try:
        for piece in _pieces(codec, data, most):
            out += piece
            if len(out) > most:
                raise TooLargeError(f"it unpacks to more than {most:,} bytes")  # noqa: TRY301
    except (CorruptRecordError, UnsupportedCodecError):
        raise
    except zstandard.ZstdError as error:
        if "too much memory" in str(error):  # its window, which is as large as its content where that is known
            raise TooLargeError(f"it unpacks to more than {most:,} bytes") from error
        raise CorruptRecordError(f"it cannot be unpacked: {error}") from error
    except Exception as error:  # each library has errors of its own
        raise CorruptRecordError(f"it cannot be unpacked: {error}") from error
    return out


def _pieces(codec: int, data: bytes, most: int) -> Iterator[bytes]:
    if codec == DefaultRecordBatch.CODEC_GZIP:
        yield from _gunzipped(data)
    elif codec == DefaultRecordBatch.CODEC_ZSTD:
        # A window larger than what is taken would be memory for nothing.
        reader = zstandard.ZstdDecompressor(max_window_size=most + _CHUNK)
        with reader.stream_reader(data, read_across_frames=True) as stream:
            while piece := stream.read(_CHUNK):
                yield piece
    elif codec == DefaultRecordBatch.CODEC_LZ4 and codecs.lz4 is not None:
        decompressor = codecs.lz4.LZ4FrameDecompressor()
        piece = decompressor.decompress(data, max_length=_CHUNK)
        while piece or not (decompressor.eof or decompressor.needs_input):
            yield piece
            piece = b"" if decompressor.eof else decompressor.decompress(b"", max_length=_CHUNK)
    elif codec == DefaultRecordBatch.CODEC_SNAPPY and codecs.has_snappy():
        if _snappy_length(data) > most:
            raise TooLargeError(f"it unpacks to more than {most:,} bytes")
        yield codecs.snappy_decode(data)
    else:
        names = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
        raise UnsupportedCodecError(
            f"compression {names.get(codec, codec)} is not installed here: pip install lz4 or python-snappy, or set another "
            "compression.type for the topic"
        )


def _gunzipped(data: bytes) -> Iterator[bytes]:
    """Yield what gzip holds, member by member."""
    while data:
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            piece = member.decompress(data, _CHUNK)
            data = member.unconsumed_tail
            if not piece and not data and not member.eof:
                raise CorruptRecordError("it cannot be unpacked: it ends too early")
            yield piece
        data = member.unused_data


def _snappy_length(data: bytes) -> int:
    """Return how long snappy says its content is, which it is held to: of one block, or of all blocks of the xerial form."""
    if not codecs._detect_xerial_stream(data):  # noqa: SLF001  # there is no public way
        return _varint(data)
    total, at = 0, 16
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big", signed=True)
        if size <= 0:
            raise CorruptRecordError("it cannot be unpacked: a block of no length")
        total += _varint(data[at + 4 : at + 14])
        at += 4 + size
    return total


def _varint(data: bytes) -> int:
    value = 0
    for place, byte in enumerate(data[:10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value
    raise CorruptRecordError("it cannot be unpacked: it does not begin with its length")


class _Batch(DefaultRecordBatch):  # type: ignore[misc]  # the client ships without types
    """A batch that gives its records out, or itself where it is too large or cannot be read."""

    __slots__ = _LAYOUT
    _buffer: Any
    _pos: int
    _decompressed: bool

    def __iter__(self) -> Iterator[Any]:
        whole = self._buffer
        done = self.base_offset - 1
        try:
            if not self._decompressed and self.compression_type:
                self._buffer = unpacked(self.compression_type, bytes(memoryview(whole)[self._pos :]))
                self._pos = 0
            self._decompressed = True
            for _ in range(self._num_records):
                record = self._read_msg()
                done = record.offset
                yield record
            if self._pos != len(self._buffer):
                raise CorruptRecordError(f"{len(self._buffer) - self._pos} bytes are left after the last record")  # noqa: TRY301
        except (CorruptRecordError, UnsupportedCodecError, ValueError, IndexError) as error:
            packed = _packed(whole, error, self.base_offset, self.last_offset, self.records_count, done)
            if done < self.last_offset:
                yield DefaultRecord(len(packed), self.last_offset, self.max_timestamp, self.timestamp_type, None, packed, [])


class _LegacyBatch(LegacyRecordBatch):  # type: ignore[misc]  # likewise
    """The same for the message formats before Kafka 0.11, of which logs may hold some still."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        whole = self._buffer
        done = -1
        try:
            for record in super().__iter__():
                done = record.offset
                yield record
        except (CorruptRecordError, UnsupportedCodecError, ValueError, IndexError, AssertionError) as error:
            packed = _packed(whole, error, self._offset, self._offset, 0, done)
            if done < self._offset:  # that of the last one
                yield LegacyRecord(
                    self._magic, self._offset, self._timestamp, self.timestamp_type, None, packed, 0, memoryview(b"")
                )

    def _decompress(self, key_offset: int) -> bytearray:
        at = key_offset + self.KEY_LENGTH
        size = int.from_bytes(self._buffer[key_offset:at], "big", signed=True)
        at += max(size, 0)
        size = int.from_bytes(self._buffer[at : at + self.VALUE_LENGTH], "big", signed=True)
        at += self.VALUE_LENGTH
        if self._magic == 0 and self.compression_type == self.CODEC_LZ4:
            raise UnsupportedCodecError("lz4 of Kafka before 0.10 is not read")
        return unpacked(self.compression_type, bytes(self._buffer[at : at + max(size, 0)]))


def _packed(whole: Any, error: Exception, first: int, last: int, count: int, done: int) -> Packed:
    packed = Packed(whole)
    packed.first = max(first, done + 1)
    packed.reason = "oversized" if isinstance(error, TooLargeError) else "encoding"
    why = error.args[0] if error.args else type(error).__name__
    packed.detail = f"a batch of {count:,} records up to offset {last}, {len(packed):,} bytes as it lies: {why}"
    return packed


class _Batches:
    """The batches of a fetch, each as one that keeps to the bounds."""

    def __init__(self, records: Any) -> None:
        self._records = records

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        # The layout is the same: only what iterating does is another.
        if isinstance(batch, DefaultRecordBatch):
            if not batch.is_control_batch:
                batch.__class__ = _Batch
        elif batch is not None:
            batch.__class__ = _LegacyBatch
        return batch


class _EnoughError(Exception):
    """The poll at hand has its fill."""


class _Records(Fetcher.PartitionRecords):  # type: ignore[misc]  # likewise
    """What was fetched of a partition, given out by number and by size."""

    def __init__(self, room: list[int], fetch_offset: int, partition: Any, records: Any, **options: Any) -> None:
        super().__init__(fetch_offset, partition, _Batches(records), **options)
        self._room = room

    def take(self, n: int | None = None) -> list[Any]:
        """Return the next records, at most `n`, and no more once what the poll has room for is used up."""
        if self._room[0] <= 0:
            raise _EnoughError
        self._maybe_raise_next_inline_exception()
        taken: list[Any] = []
        room = self._room[0]
        try:
            for record in self.record_iterator:
                taken.append(record)
                room -= len(record.value or b"") + len(record.key or b"")
                if room <= 0 or len(taken) == n:
                    break
        except Exception as error:
            if not taken:
                raise
            self._next_inline_exception = error
        self._room[0] = room
        return taken


def bound(consumer: KafkaConsumer) -> None:
    """Let a consumer unpack batches within bounds, and return no more from one poll than `ENOUGH_BYTES` and a record."""
    fetcher = consumer._fetcher  # noqa: SLF001  # there is no public way
    room = [ENOUGH_BYTES]
    fetched = fetcher.fetched_records

    def records(*given: Any, **options: Any) -> _Records:
        return _Records(room, *given, **options)

    def fetched_records(*given: Any, **options: Any) -> Any:
        room[0] = ENOUGH_BYTES
        found = fetched(*given, **options)
        waiting = fetcher._next_in_line_exception_metadata  # noqa: SLF001
        if waiting is not None and isinstance(waiting.exception, _EnoughError):
            fetcher._next_in_line_exception_metadata = None  # noqa: SLF001
            return found[0], True
        return found

    fetcher.PartitionRecords = records
    fetcher.fetched_records = fetched_records
