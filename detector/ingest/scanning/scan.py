"""The entry: many records in one call."""

from typing import Final

import numpy as np

from detector.ingest.scanning import cells as at
from detector.ingest.scanning.machine import byte, cell, entry, part, put, put_float, word
from detector.ingest.scanning.record import CONFIDENCE, RUNNER_UP, WEIGHT, record
from detector.ingest.scanning.texts import first_bytes

__all__ = ["PADDING", "TABLES", "scan"]

PADDING: Final = 16
"""Zero bytes behind the last record: it ends with one, and eight bytes are read at a time."""

TABLES: Final = 3  # of models, versions and descriptions

PROBES: Final = 8  # places of a table that are looked at for a row, so that nobody can make it slow
ROW_BYTES: Final = 8 * at.WIDTH
NAN: Final = np.nan


@part
def like(base, one, other, first, last):
    """Tell whether two rows have the same texts in the columns `first` to `last`, and of descriptions the same trust."""
    if first == at.TYPE and cell(one, at.TRUSTED) != cell(other, at.TRUSTED):
        return False
    for column in range(first, last + 1, 2):
        a, b = cell(one, column), cell(other, column)
        n = cell(one, column + 1) - a
        if n != cell(other, column + 1) - b or (a == 0) != (b == 0):
            return False
        for k in range(n):
            if byte(base + a + k) != byte(base + b + k):
                return False
    return True


@part
def hash_of(base, row, first, last):
    """Return a number that rows with the same texts in these columns have in common."""
    h = np.uint64(0xCBF29CE484222325)
    for column in range(first, last + 1, 2):
        p, end = base + cell(row, column), base + cell(row, column + 1)
        h = (h ^ np.uint64(end - p)) * np.uint64(0x100000001B3)
        while p < end:
            h = (h ^ first_bytes(word(p), end - p)) * np.uint64(0x9E3779B97F4A7C15)
            h ^= h >> np.uint64(29)
            p += 8
    return np.int64(h >> np.uint64(33))


@part
def first_like(base, rows, i, before, table, mask, first, last, same):
    """Return the first row that has the same texts as row `i`, as far as the table knows, and keep it there.

    `rows` is the address of row 0, `before` the row that was understood last, -1 without one, `same` the column of the result.
    The table of `mask` + 1 numbers is at the address `table`.
    """
    row = rows + i * ROW_BYTES
    if before >= 0:
        known = cell(rows + before * ROW_BYTES, same)
        if known >= 0 and like(base, row, rows + before * ROW_BYTES, first, last):
            return known
    place = hash_of(base, row, first, last) & mask
    for _ in range(PROBES):
        j = cell(table, place) - 1
        if j < 0:
            put(table, place, i + 1)
            return i
        if like(base, row, rows + j * ROW_BYTES, first, last):
            return j
        place = (place + 1) & mask
    return i


@entry
def scan(base, starts, n, rows, rates, values, tables, mask, latest, limit):
    """Read `n` records; return how many were understood. All parameters are whole numbers, most of them addresses.

    Record i begins at `base` plus entry i of `starts`, ends before a zero byte, and the last entry ends the last one. `rows`
    are n rows of `cells`, zero, `rates` n rows of three float32, `values` float32, one for each two bytes of the records.
    `tables` are three times `mask` + 1 numbers, zero; `mask` + 1 is a power of 2. Records later than `latest` ms and those of
    more than `limit` bytes are left.
    """
    filled, count = 0, 0
    before = -1
    for i in range(n):
        row, rate = rows + i * ROW_BYTES, rates + 12 * i
        put_float(rate, CONFIDENCE, NAN)
        put_float(rate, RUNNER_UP, NAN)
        put_float(rate, WEIGHT, 1.0)
        begin = base + cell(starts, i)
        end = base + cell(starts, i + 1) - 1
        if end - begin > limit or record(begin, base, row, rate, values + 4 * filled, latest) != end:
            continue
        put(row, at.OFFSET, filled)
        put(row, at.SEEN, 1)
        filled += cell(row, at.LENGTH)
        count += 1
        for which in range(TABLES):
            first = at.MODEL if which == 0 else at.VERSION if which == 1 else at.TYPE
            last = at.AGENT if which == 2 else first
            there = which == 2 and cell(row, at.TRUSTED) != 0
            for column in range(first, last + 1, 2):
                there = there or cell(row, column) != 0
            found = -1
            if there:
                table = tables + 8 * which * (mask + 1)
                found = first_like(base, rows, i, before, table, mask, first, last, at.SAME_MODEL + which)
            put(row, at.SAME_MODEL + which, found)
        before = i
    return count
