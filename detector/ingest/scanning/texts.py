"""Texts, blanks and values of JSON that nobody needs."""

from typing import Final

import numpy as np

from detector.ingest.scanning.machine import byte, part, trailing_zeros, word
from detector.ingest.scanning.numbers import number

__all__ = ["ESCAPED", "WIDE", "after_null", "beyond", "first_bytes", "key", "next_of", "skipped", "text"]

WIDE: Final = 1
"""A text holds characters beyond ASCII."""

ESCAPED: Final = 2
"""A text holds escapes."""

DEEPEST: Final = 48  # levels of a value that is skipped

ONE: Final = np.uint64(1)
ONES: Final = np.uint64(0x0101010101010101)
HIGH: Final = np.uint64(0x8080808080808080)
QUOTES: Final = np.uint64(0x2222222222222222)
SLASHES: Final = np.uint64(0x5C5C5C5C5C5C5C5C)
BLANKS: Final = np.uint64(0x2020202020202020)
NULL: Final = np.uint64(int.from_bytes(b"null", "little"))
TRUE: Final = np.uint64(int.from_bytes(b"true", "little"))
FALSE: Final = np.uint64(int.from_bytes(b"false", "little"))
FOUR_BYTES: Final = np.uint64(0xFFFFFFFF)
FIVE_BYTES: Final = np.uint64(0xFFFFFFFFFF)


@part
def text(p):
    """Return (end, what it holds) of the text behind the quote at `p`; the end is its closing quote, 0 where it is none.

    What it holds is the sum of `WIDE` and `ESCAPED`, where it does. Halves of surrogate pairs are no text.
    """
    p += 1
    while True:
        v = word(p)
        q = v ^ QUOTES
        s = v ^ SLASHES
        found = (((q - ONES) & ~q) | ((s - ONES) & ~s) | ((v - BLANKS) & ~v) | v) & HIGH
        if found != np.uint64(0):
            break
        p += 8
    p += trailing_zeros(found) >> 3
    if byte(p) == 0x22:
        return p, 0
    return unusual_text(p)


@part
def unusual_text(p):
    """Return what `text` does, of a text whose first unusual character is at `p`."""
    holds = 0
    half = False  # whether the first half of a surrogate pair came last
    while True:
        b = byte(p)
        if half and (b != 0x5C or byte(p + 1) != 0x75):
            return 0, 0
        if b == 0x22:
            return p, holds
        if b < 0x20:
            return 0, 0
        if b == 0x5C:
            holds |= ESCAPED
            b = byte(p + 1)
            if b == 0x75:
                code = hexadecimal(p + 2)
                if code < 0 or half != (0xDC00 <= code <= 0xDFFF):
                    return 0, 0
                half = 0xD800 <= code <= 0xDBFF
                p += 6
            elif b == 0x22 or b == 0x5C or b == 0x2F or b == 0x62 or b == 0x66 or b == 0x6E or b == 0x72 or b == 0x74:
                p += 2
            else:
                return 0, 0
        elif b < 0x80:
            p += 1
        else:
            holds |= WIDE
            n = wide_character(p)
            if n == 0:
                return 0, 0
            p += n


@part
def hexadecimal(p):
    """Return the number that four hexadecimal digits write, -1 where they are none."""
    code = 0
    for k in range(4):
        c = byte(p + k)
        if 0x30 <= c <= 0x39:
            c -= 0x30
        elif 0x41 <= c <= 0x46:
            c -= 0x37
        elif 0x61 <= c <= 0x66:
            c -= 0x57
        else:
            return -1
        code = code * 16 + c
    return code


@part
def wide_character(p):
    """Return how many bytes the character beyond ASCII at `p` takes in UTF-8, 0 where it is none."""
    a, b = byte(p), byte(p + 1)
    if not 0x80 <= b <= 0xBF:
        return 0
    if 0xC2 <= a <= 0xDF:
        return 2
    c = byte(p + 2)
    if not 0x80 <= c <= 0xBF:
        return 0
    if 0xE0 <= a <= 0xEF:
        return 0 if (a == 0xE0 and b < 0xA0) or (a == 0xED and b > 0x9F) else 3
    if not 0x80 <= byte(p + 3) <= 0xBF:
        return 0
    if 0xF0 <= a <= 0xF4:
        return 0 if (a == 0xF0 and b < 0x90) or (a == 0xF4 and b > 0x8F) else 4
    return 0


@part
def beyond(p):
    """Return the place of the first byte from `p` on that is no white space."""
    b = byte(p)
    while b == 0x20 or b == 0x0A or b == 0x0D or b == 0x09:
        p += 1
        b = byte(p)
    return p


@part
def first_bytes(v, n):
    """Return the first `n` of eight bytes, the others zero; 1 <= n."""
    return v if n >= 8 else v & ((ONE << np.uint64(8 * n)) - ONE)


@part
def key(p):
    """Return (value, length, first eight bytes, the next eight) of the key whose quote is at `p`; value 0 where there is none.

    A key with escapes is left, since it may be any. The value is where what follows the colon begins.
    """
    if byte(p) != 0x22:
        return 0, 0, np.uint64(0), np.uint64(0)
    end, holds = text(p)
    if end == 0 or holds & ESCAPED:
        return 0, 0, np.uint64(0), np.uint64(0)
    n = end - p - 1
    first, second = np.uint64(0), np.uint64(0)
    if n > 0:
        first = first_bytes(word(p + 1), n)
    if n > 8:
        second = first_bytes(word(p + 9), n - 8)
    p = beyond(end + 1)
    if byte(p) != 0x3A:
        return 0, 0, first, second
    return beyond(p + 1), n, first, second


@part
def next_of(p, closing):
    """Return (next, whether it was the last) behind a member or an element; next 0 where neither a comma nor `closing` is."""
    p = beyond(p)
    b = byte(p)
    if b == 0x2C:
        return beyond(p + 1), False
    if b == closing:
        return p + 1, True
    return 0, True


@part
def after_null(p):
    """Return the place behind the ``null`` at `p`, 0 where there is none."""
    return p + 4 if word(p) & FOUR_BYTES == NULL else 0


@part
def skipped(p):
    """Return the place behind the value at `p`, 0 where it is none, or one that is left."""
    depth = 0
    objects = np.uint64(0)  # of each level, the lowest bit for the deepest: whether it is an object
    while True:
        b = byte(p)
        deeper = False
        if b == 0x22:
            p, _ = text(p)
            if p == 0:
                return 0
            p += 1
        elif b == 0x7B or b == 0x5B:
            opened = b
            p = beyond(p + 1)
            if byte(p) == opened + 2:  # its closing bracket
                p += 1
            else:
                depth += 1
                if depth > DEEPEST:
                    return 0
                objects = (objects << ONE) | (ONE if opened == 0x7B else np.uint64(0))
                deeper = True
        elif b == 0x74 and word(p) & FOUR_BYTES == TRUE:
            p += 4
        elif b == 0x66 and word(p) & FIVE_BYTES == FALSE:
            p += 5
        elif b == 0x6E:
            p = after_null(p)
            if p == 0:
                return 0
        else:
            p, _ = number(p)
            if p == 0:
                return 0
        while not deeper:
            if depth == 0:
                return p
            p, done = next_of(p, 0x7D if objects & ONE else 0x5D)
            if p == 0:
                return 0
            if not done:
                break
            depth -= 1
            objects >>= ONE
        if objects & ONE:
            p, _, _, _ = key(p)
            if p == 0:
                return 0
