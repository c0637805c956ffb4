"""Codes of labels, and vectors in base64."""

from typing import Final

import numpy as np

from detector.ingest.scanning.machine import byte, part, put_bits

__all__ = ["MISSING", "code_of_place", "code_of_text", "unpacked"]

MISSING: Final = np.uint32(0x7FC00000)
EXPONENT: Final = np.uint32(0x7F800000)  # bits that only infinities and NaN have all
FRACTION: Final = np.uint32(0x007FFFFF)
BYTE: Final = np.uint32(0xFF)


def _crc_table() -> np.ndarray:
    """Return the table of CRC-32, byte by byte."""
    table = np.empty(256, np.uint32)
    for n in range(256):
        code = n
        for _ in range(8):
            code = (code >> 1) ^ 0xEDB88320 if code & 1 else code >> 1
        table[n] = code
    return table


def _sextets() -> np.ndarray:
    """Return the value of each letter of base64, 64 for any other byte."""
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    table = np.full(256, 64, np.uint32)
    table[np.frombuffer(letters, np.uint8)] = np.arange(64)
    return table


CRC: Final = _crc_table()
SEXTETS: Final = _sextets()


@part
def code_of_text(p, end):
    """Return the code of the label from `p` to `end`: see `packing.label_code`."""
    crc = np.uint32(0xFFFFFFFF)
    while p < end:
        crc = CRC[(crc ^ np.uint32(byte(p))) & BYTE] ^ (crc >> np.uint32(8))
        p += 1
    return np.int64(np.int32(crc ^ np.uint32(0xFFFFFFFF)))


@part
def code_of_place(place):
    """Return the code of a class that is known by its place, 0 or more."""
    crc = np.uint32(0xFFFFFFFF)
    worth = 1
    while place // worth >= 10:
        worth *= 10
    while worth > 0:
        digit = np.uint32(48 + place // worth % 10)
        crc = CRC[(crc ^ digit) & BYTE] ^ (crc >> np.uint32(8))
        worth //= 10
    return np.int64(np.int32(crc ^ np.uint32(0xFFFFFFFF)))


@part
def unpacked(p, end, vector):
    """Write the float32 that the base64 from `p` to `end` holds to the address `vector`; return how many they are.

    0 where it is none, holds an infinity, or only missing values.
    """
    size = end - p
    if size == 0 or size % 4 != 0:
        return 0
    padding = 0
    if byte(end - 1) == 0x3D:
        padding = 2 if byte(end - 2) == 0x3D else 1
    stop = end - padding
    held, filled = np.uint32(0), 0  # bits of a number, and how many of its bytes they are
    group, letters = np.uint32(0), 0
    count, missing = 0, 0
    while p < stop:
        sextet = SEXTETS[byte(p)]
        if sextet == np.uint32(64):
            return 0
        group = (group << np.uint32(6)) | sextet
        letters += 1
        p += 1
        if letters == 4 or p == stop:
            given = letters - 1  # bytes: 3 of 4 letters, 2 of 3, 1 of 2
            if given == 0:
                return 0
            unused = np.uint32(6 * letters - 8 * given)
            if group & ((np.uint32(1) << unused) - np.uint32(1)) != np.uint32(0):
                return 0
            group >>= unused
            while given > 0:
                given -= 1
                held |= ((group >> np.uint32(8 * given)) & BYTE) << np.uint32(8 * filled)
                filled += 1
                if filled == 4:
                    if held & EXPONENT == EXPONENT:
                        if held & FRACTION == np.uint32(0):
                            return 0
                        missing += 1
                    put_bits(vector, count, held)
                    count += 1
                    held, filled = np.uint32(0), 0
            group, letters = np.uint32(0), 0
    return 0 if filled != 0 or missing == count else count
