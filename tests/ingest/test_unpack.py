"""Unpacking of gzip, bzip2, xz and zstd, whole and damaged."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.errors import DamagedError
from detector.ingest.unpack import Blocks, could_become_compressed, format_of, gunzip, unbz2, unxz, unzstd

TEXT = b"".join(b"line %d of a log that compresses neither well nor badly %d\n" % (i, i * i % 977) for i in range(6_000))


def _reader(data: bytes, size: int = 1 << 16) -> Callable[[], bytes]:
    stream = io.BytesIO(data)
    return lambda: stream.read(size)


def _zstd(data: bytes, *, write_checksum: bool = False, write_content_size: bool = True) -> bytes:
    compressor = zstandard.ZstdCompressor(write_checksum=write_checksum, write_content_size=write_content_size)
    return compressor.compress(data)


def _until_broken(blocks: Blocks) -> tuple[bytes, str]:
    unpacked: list[bytes] = []
    with pytest.raises(DamagedError) as broken:
        unpacked.extend(blocks)
    return b"".join(unpacked), str(broken.value)


@pytest.mark.parametrize("size", [1, 3, 1000, 1 << 20])
@pytest.mark.parametrize(
    ("unpack", "packed"),
    [
        (gunzip, gzip.compress(TEXT)),
        (gunzip, gzip.compress(TEXT[:100_000]) + gzip.compress(b"") + gzip.compress(TEXT[100_000:])),
        (gunzip, gzip.compress(TEXT[:9]) + b"\0" * 700 + gzip.compress(TEXT[9:]) + b"\0" * 512),
        (unbz2, bz2.compress(TEXT[:99_999]) + bz2.compress(TEXT[99_999:])),
        (unxz, lzma.compress(TEXT[:99_999]) + b"\0" * 8 + lzma.compress(TEXT[99_999:])),
        (unzstd, _zstd(TEXT)),
        (unzstd, _zstd(TEXT, write_checksum=True, write_content_size=False)),
        (unzstd, _zstd(TEXT[:200_000]) + _zstd(b"") + _zstd(TEXT[200_000:])),
        (unzstd, b"\x51\x2a\x4d\x18\x05\0\0\0hello" + _zstd(TEXT) + b"\x50\x2a\x4d\x18\0\0\0\0"),
    ],
)
def test_whole_data_unpacks_however_it_arrives(unpack: Callable[..., Blocks], packed: bytes, size: int) -> None:
    """Members, frames, padding and skippable frames in a row are one text, in reads of any size."""
    start, end = (packed, b"") if size > 1 else (packed[:2000], packed[2000:])  # byte by byte is slow
    reads = [_reader(start, size), _reader(end)]

    def read() -> bytes:
        return reads[0]() or reads[1]()

    assert b"".join(unpack(read)) == TEXT


@settings(deadline=None)
@given(st.data())
def test_gzip_cut_anywhere_gives_what_came_before(data: st.DataObject) -> None:
    """A cut member gives exactly what zlib can unpack of it, then says that it ends early."""
    packed = gzip.compress(TEXT)
    cut = data.draw(st.integers(1, len(packed) - 1))
    unpacked, said = _until_broken(gunzip(_reader(packed[:cut])))
    assert unpacked == zlib.decompressobj(wbits=31).decompress(packed[:cut])
    assert said == "ends early"


@settings(deadline=None)
@given(st.data())
def test_zstd_cut_anywhere_gives_whole_blocks(data: st.DataObject) -> None:
    """A cut frame gives its whole blocks, then says that it ends early."""
    packed = _zstd(TEXT)
    cut = data.draw(st.integers(1, len(packed) - 1))
    unpacked, said = _until_broken(unzstd(_reader(packed[:cut])))
    assert unpacked == zstandard.ZstdDecompressor().decompressobj().decompress(packed[:cut])
    assert said == "ends early"


@settings(deadline=None)
@given(st.data())
def test_flipped_bits_never_escape_as_another_error(data: st.DataObject) -> None:
    """Any flipped bit is harmless or a DamagedError, and what was unpacked before the flip is right."""
    unpack, packed = data.draw(st.sampled_from([(gunzip, gzip.compress(TEXT)), (unzstd, _zstd(TEXT, write_checksum=True))]))
    place = data.draw(st.integers(0, len(packed) - 1))
    damaged = bytearray(packed)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    unpacked = bytearray()
    try:
        for block in unpack(_reader(bytes(damaged))):
            unpacked += block
    except DamagedError:
        pass
    else:
        assert unpacked == TEXT
    if unpack is gunzip:
        before = zlib.decompressobj(wbits=31).decompress(packed[:place])
        assert unpacked[: len(before)] == before


def test_corrupt_zstd_block_keeps_the_blocks_before() -> None:
    """Each block before the corrupt one arrives, although one read held all of them."""
    packed = bytearray(_zstd(b"a" * (1 << 20)))
    packed[-4:-1] = b"\xff\xff\xff"  # an impossible last block
    unpacked, _ = _until_broken(unzstd(_reader(bytes(packed))))
    assert len(unpacked) == (1 << 20) - (1 << 17)


@pytest.mark.parametrize(
    ("unpack", "packed"),
    [(gunzip, gzip.compress(bytes(20_000_000))), (unzstd, _zstd(bytes(20_000_000)))],
)
def test_a_bomb_unpacks_in_pieces(unpack: Callable[..., Blocks], packed: bytes) -> None:
    """Data that compresses a thousandfold and more never stands in memory at once."""
    assert max(map(len, unpack(_reader(packed, 1 << 20)))) < 17_000_000


@pytest.mark.parametrize(("unpack", "packed"), [(gunzip, gzip.compress(TEXT) + b"garbage"), (unzstd, _zstd(TEXT) + b"garbage")])
def test_something_else_after_the_end_is_damage(unpack: Callable[..., Blocks], packed: bytes) -> None:
    """What follows the last member or frame is reported, after the text."""
    assert _until_broken(unpack(_reader(packed)))[0] == TEXT


def test_format_is_known_from_four_bytes() -> None:
    """Magic numbers are recognised, their beginnings ask for more, and JSON never waits."""
    zstd, skippable = b"\x28\xb5\x2f\xfd", b"\x5f\x2a\x4d\x18"
    assert [format_of(first) for first in (b"\x1f\x8b", zstd, skippable, b"", b"{", b"Pxyz")] == [
        "gzip", "zstd", "zstd", None, None, None,
    ]  # fmt: skip
    assert all(could_become_compressed(magic[:n]) for magic in (zstd, skippable) for n in (1, 2, 3))
    assert could_become_compressed(b"\x1f")
    assert not any(map(could_become_compressed, (b"", b'{"a', b"{", b"\n", b"Px", zstd)))


@pytest.mark.parametrize(("unpack", "pack"), [(unbz2, bz2.compress), (unxz, lzma.compress)])
def test_streams_of_bzip2_and_xz_that_are_damaged(unpack: Callable[..., Blocks], pack: Callable[[bytes], bytes]) -> None:
    """Cut off, corrupt, or followed by something else: what comes before is given, and the form is known by four bytes."""
    text = TEXT * 8
    packed = pack(text)
    cut, said = _until_broken(unpack(_reader(packed[: len(packed) // 2], 4096)))
    assert text.startswith(cut)
    assert said == "ends early"
    corrupt = bytearray(packed)
    corrupt[len(packed) * 3 // 4] ^= 0xFF
    found, said = _until_broken(unpack(_reader(bytes(corrupt), 4096)))
    assert text.startswith(found[:100_000])
    assert "is corrupt" in said
    assert _until_broken(unpack(_reader(packed + b"garbage")))[0] == text
    assert format_of(packed[:4]) in {"bzip2", "xz"}
    assert all(could_become_compressed(packed[:n]) for n in (1, 2, 3))
