"""Numbers of JSON, read exactly.

The method is that of D. Lemire, "Number parsing at a gigabyte per second", Software: Practice and Experience 51 (2021): the
decimal significand times a 128-bit approximation of the power of ten gives the nearest double, or shows that it may not.
"""

from typing import Final

import numpy as np

from detector.ingest.scanning.machine import as_double, byte, high_product, leading_zeros, part, word

__all__ = ["number", "whole"]

SMALLEST_POWER: Final = -342
LARGEST_POWER: Final = 308
EXACT_WHOLE: Final = np.uint64(1 << 53)  # whole numbers up to here are doubles
MOST_DIGITS: Final = 19  # fit in 64 bits

EIGHT_DIGITS: Final = np.uint64(10**8)
TEN: Final = np.uint64(10)
ZERO: Final = np.uint64(0)
ONE: Final = np.uint64(1)


def _powers():
    """Return 5**q as the upper 128 bits of its binary digits, (high, low) for each q: section 5 of the paper."""
    rows = []
    for q in range(SMALLEST_POWER, LARGEST_POWER + 1):
        power = 5 ** abs(q)
        if q >= 0:
            shift = power.bit_length() - 128
            value = power << -shift if shift <= 0 else power >> shift
        else:
            bits = (power - 1).bit_length()
            value = (1 << (bits + 127 if q >= -27 else 2 * bits + 128)) // power + 1
            value >>= max(0, value.bit_length() - 128)
        rows.append((value >> 64, value & (2**64 - 1)))
    return np.array(rows, np.uint64)


POWERS: Final = _powers()
EXACT_POWERS: Final = np.array([10.0**i for i in range(23)])


@part
def are_eight_digits(v):
    """Tell whether eight bytes are digits."""
    upper = v & np.uint64(0xF0F0F0F0F0F0F0F0)
    carried = (v + np.uint64(0x0606060606060606)) & np.uint64(0xF0F0F0F0F0F0F0F0)
    return (upper | (carried >> np.uint64(4))) == np.uint64(0x3333333333333333)


@part
def value_of_eight(v):
    """Return the number that eight digits write."""
    v = ((v & np.uint64(0x0F0F0F0F0F0F0F0F)) * np.uint64(2561)) >> np.uint64(8)
    v = ((v & np.uint64(0x00FF00FF00FF00FF)) * np.uint64(6553601)) >> np.uint64(16)
    return ((v & np.uint64(0x0000FFFF0000FFFF)) * np.uint64(42949672960001)) >> np.uint64(32)


@part
def number(p):
    """Return (end, value) of the number at `p`; end 0 where there is none, or one that is left.

    Left are numbers of more than 19 digits, those near the ends of the range of doubles, and ``-0``, which some readers take
    for a whole number without a sign.
    """
    negative = byte(p) == 0x2D
    if negative:
        p += 1
    begin = p
    w = ZERO
    c = byte(p) - 48
    while 0 <= c <= 9:
        w = w * TEN + np.uint64(c)
        p += 1
        c = byte(p) - 48
    digits = p - begin
    if digits == 0 or (digits > 1 and byte(begin) == 0x30):
        return 0, 0.0
    written_whole = True
    q = 0
    if byte(p) == 0x2E:
        written_whole = False
        p += 1
        point = p
        v = word(p)
        while are_eight_digits(v):
            w = w * EIGHT_DIGITS + value_of_eight(v)
            p += 8
            v = word(p)
        c = byte(p) - 48
        while 0 <= c <= 9:
            w = w * TEN + np.uint64(c)
            p += 1
            c = byte(p) - 48
        if p == point:
            return 0, 0.0
        q = point - p
        digits -= q
    if digits > MOST_DIGITS:
        at = begin
        while byte(at) == 0x30 or byte(at) == 0x2E:  # zeros at the front do not count
            if byte(at) == 0x30:
                digits -= 1
            at += 1
        if digits > MOST_DIGITS:
            return 0, 0.0
    b = byte(p)
    if b == 0x65 or b == 0x45:
        written_whole = False
        p += 1
        b = byte(p)
        minus = b == 0x2D
        if minus or b == 0x2B:
            p += 1
        c = byte(p) - 48
        if not 0 <= c <= 9:
            return 0, 0.0
        exponent = 0
        while 0 <= c <= 9:
            if exponent < 10000:
                exponent = exponent * 10 + c
            p += 1
            c = byte(p) - 48
        q += -exponent if minus else exponent
    if w == ZERO:
        if negative:
            return (0 if written_whole else p), -0.0
        return p, 0.0
    if w <= EXACT_WHOLE and -22 <= q <= 22:
        value = np.float64(w)
        value = value / EXACT_POWERS[-q] if q < 0 else value * EXACT_POWERS[q]
        return p, (-value if negative else value)
    value = nearest(w, q)
    if value == 0.0:
        return 0, 0.0
    return p, (-value if negative else value)


@part
def nearest(w, q):
    """Return the double nearest to w * 10**q, 0 where this cannot tell; w is not 0."""
    if q < SMALLEST_POWER or q > LARGEST_POWER:
        return 0.0
    lz = leading_zeros(w)
    w <<= lz
    at = q - SMALLEST_POWER
    hi = high_product(w, POWERS[at, 0])
    lo = w * POWERS[at, 0]
    if (hi & np.uint64(0x1FF)) == np.uint64(0x1FF):
        more = high_product(w, POWERS[at, 1])
        lo += more
        if lo < more:
            hi += ONE
    if lo == np.uint64(0xFFFFFFFFFFFFFFFF) and (q < -27 or q > 55):
        return 0.0
    upper = hi >> np.uint64(63)
    shift = upper + np.uint64(9)
    mantissa = hi >> shift
    power = ((217706 * q) >> 16) + 63 + np.int64(upper) - np.int64(lz) + 1023
    if power <= 0 or power >= 2046:
        return 0.0
    if lo <= ONE and -4 <= q <= 23 and (mantissa & np.uint64(3)) == ONE and (mantissa << shift) == hi:
        mantissa &= np.uint64(0xFFFFFFFFFFFFFFFE)  # in the middle between two doubles: to the even one
    mantissa = (mantissa + (mantissa & ONE)) >> ONE
    if mantissa >= np.uint64(1 << 53):
        mantissa = np.uint64(1 << 52)
        power += 1
    return as_double((mantissa & np.uint64((1 << 52) - 1)) | (np.uint64(power) << np.uint64(52)))


@part
def whole(p):
    """Return (end, value) of the integer at `p`; end 0 where there is none, or one of more than 18 digits, or ``-0``."""
    negative = byte(p) == 0x2D
    if negative:
        p += 1
    begin = p
    w = 0
    c = byte(p) - 48
    while 0 <= c <= 9 and p - begin < 19:
        w = w * 10 + c
        p += 1
        c = byte(p) - 48
    digits = p - begin
    if digits == 0 or digits > 18 or (byte(begin) == 0x30 and (digits > 1 or negative)):
        return 0, 0
    if c == -2 or c == 21 or c == 53:  # a point or an exponent
        return 0, 0
    return p, (-w if negative else w)
