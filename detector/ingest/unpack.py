"""Compressed bytes of a log, unpacked as they arrive.

The format is seen from the first bytes, never from a name. Two promises make this more than a call of the library:
memory stays bounded whatever a hostile file claims, and at the first damage everything before it has been handed on,
to the byte for gzip, to the block for zstd, and but for the last 64 KiB for bzip2 and xz.
"""

import bz2
import contextlib
import lzma
import zlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import zstandard

from detector.errors import DamagedError

if TYPE_CHECKING:
    from zlib import _Decompress

__all__ = ["UNPACK", "Blocks", "could_become_compressed", "format_of", "gunzip", "unbz2", "unxz", "unzstd"]

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # after one byte 0x50-0x5f
_STEP = 1 << 14  # unpacks to at most 16 MiB; large enough that the copy kept for an error stays cheap beside the unpacking
_SKIP = 1 << 16
_BZ2 = b"BZh"
_XZ = b"\xfd7zX"
_OUT = 1 << 16  # what one call unpacks at most: what is lost at a damage
_XZ_MEMORY = 128 << 20  # bytes: what the largest preset asks for is 65 MiB

Kind: TypeAlias = Literal["gzip", "zstd", "bzip2", "xz"]
Blocks: TypeAlias = Generator[bytes, None, None]
Read: TypeAlias = Callable[[], bytes]


def format_of(first: bytes) -> Kind | None:
    r"""Tell what data beginning with these bytes (four are enough) is compressed with.

    >>> format_of(b"\x1f\x8b\x08\x00"), format_of(b'{"event_id"')
    ('gzip', None)
    """
    if first.startswith(_GZIP):
        return "gzip"
    if first.startswith(_ZSTD) or _is_skippable(first):
        return "zstd"
    if first.startswith(_XZ):
        return "xz"
    if first.startswith(_BZ2) and first[3:4].isdigit():
        return "bzip2"
    return None


def could_become_compressed(first: bytes) -> bool:
    """Tell whether these bytes are too few to know, because a magic number may begin with them."""
    whole = any(magic.startswith(first) for magic in (_GZIP, _XZ, _BZ2))
    return len(first) < 4 and bool(first) and (whole or _starts_zstd(first))


def gunzip(read: Read) -> Blocks:
    """Unpack gzip members from `read`, which returns what is there and nothing at the end.

    Raises `DamagedError` at the first damage, after everything before it was yielded. The check sum stands at the end
    of a member, so damage that it alone reveals is found when the whole member was yielded already.
    """
    member, begun = zlib.decompressobj(wbits=31), False
    while block := read():
        for start in range(0, len(block), _STEP):
            data = block[start : start + _STEP]
            while data:
                if not begun:
                    data = data.lstrip(b"\0")  # some tools pad members with zeros
                    if not data:
                        break
                    begun = True
                before = member.copy()
                try:
                    unpacked = member.decompress(data)
                except zlib.error as error:
                    yield _salvage(before, data)
                    raise DamagedError(f"is corrupt ({_brief(error)})") from error
                yield unpacked
                data = b""
                if member.eof:
                    data, member, begun = member.unused_data, zlib.decompressobj(wbits=31), False
    if begun:
        raise DamagedError("ends early")


def _salvage(member: "_Decompress", data: bytes) -> bytes:
    """Unpack byte by byte up to the error: a call that fails returns nothing of what it unpacked."""
    unpacked = bytearray()
    with contextlib.suppress(zlib.error):
        for i in range(len(data)):
            unpacked += member.decompress(data[i : i + 1])
    return bytes(unpacked)


class _Stream(Protocol):
    """What the decompressors of bzip2 and xz share."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def unbz2(read: Read) -> Blocks:
    """Unpack bzip2 streams; as `gunzip`, but of the damaged data up to 64 KiB before the damage are lost."""
    return _streams(read, bz2.BZ2Decompressor)


def unxz(read: Read) -> Blocks:
    """Unpack xz streams, as `unbz2`; one that needs more than 128 MiB of memory is refused as corrupt."""
    return _streams(read, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY))


def _streams(read: Read, begin: Callable[[], _Stream]) -> Blocks:
    stream: _Stream | None = None
    while data := read():
        while data:
            if stream is None:
                data = data.lstrip(b"\0")  # padding between streams
                if not data:
                    break
                stream = begin()
            try:
                while True:
                    yield stream.decompress(data, _OUT)
                    data = b""
                    if stream.eof or stream.needs_input:
                        break
            except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
                raise DamagedError(f"is corrupt ({_brief(error)})") from error
            if stream.eof:
                data, stream = stream.unused_data, None
    if stream is not None:
        raise DamagedError("ends early")


def unzstd(read: Read) -> Blocks:
    """Unpack zstd frames from `read`, giving the library one block at a time (RFC 8878, section 3.1.1).

    A block unpacks to at most 128 KiB, which bounds the memory, and no block is lost because the next one is corrupt.
    Frames that need a dictionary or a window of more than 128 MiB are refused as corrupt, with the library's own words.
    Raises `DamagedError` at the first damage, after the blocks before it were yielded.
    """
    source = _Exactly(read)
    while magic := source.at_most(4):
        if _is_skippable(magic):
            length = int.from_bytes(source.take(4), "little")
            while length:
                length -= len(source.take(min(length, _SKIP)))
        elif magic == _ZSTD:
            yield from _frame(source)
        else:
            raise DamagedError("ends early" if _starts_zstd(magic) else "is followed by something else")


def _frame(source: "_Exactly") -> Blocks:
    frame = zstandard.ZstdDecompressor().decompressobj()
    descriptor = source.take(1)
    flags = descriptor[0]
    single_segment, checksum = flags >> 5 & 1, flags >> 2 & 1
    window_bytes = 1 - single_segment
    dictionary_bytes = (0, 1, 2, 4)[flags & 3]
    content_size_bytes = (single_segment, 2, 4, 8)[flags >> 6]
    try:
        frame.decompress(_ZSTD + descriptor + source.take(window_bytes + dictionary_bytes + content_size_bytes))
        last = 0
        while not last:
            header = source.take(3)
            bits = int.from_bytes(header, "little")
            last, kind, size = bits & 1, bits >> 1 & 3, bits >> 3
            yield frame.decompress(header + source.take(1 if kind == 1 else size))  # kind 1 repeats a single byte
        if checksum:
            frame.decompress(source.take(4))
    except zstandard.ZstdError as error:
        raise DamagedError(f"is corrupt ({_brief(error)})") from error


@dataclass(slots=True)
class _Exactly:
    """Gives exact numbers of bytes from a reader that gives what it has."""

    read: Read
    kept: bytes = b""

    def at_most(self, size: int) -> bytes:
        parts, have = [self.kept], len(self.kept)
        while have < size and (block := self.read()):
            parts.append(block)
            have += len(block)
        joined = b"".join(parts) if len(parts) > 1 else self.kept
        self.kept = joined[size:]
        return joined[:size]

    def take(self, size: int) -> bytes:
        taken = self.at_most(size)
        if len(taken) < size:
            raise DamagedError("ends early")
        return taken


def _is_skippable(magic: bytes) -> bool:
    return len(magic) > 3 and magic[0] & 0xF0 == 0x50 and magic[1:4] == _SKIPPABLE


def _starts_zstd(first: bytes) -> bool:
    return _ZSTD.startswith(first) or (first[0] & 0xF0 == 0x50 and _SKIPPABLE.startswith(first[1:4]))


def _brief(error: Exception) -> str:
    return str(error).rpartition(": ")[2]


UNPACK: Final[dict[Kind, Callable[[Read], Blocks]]] = {"gzip": gunzip, "zstd": unzstd, "bzip2": unbz2, "xz": unxz}
"""What unpacks each kind of compressed data."""
