"""One record of the native format."""

from typing import Final

from detector.contracts.event import FLOAT32_BOUND, PROBABILITY_SLACK
from detector.contracts.limits import TEXT_CHARACTERS
from detector.ingest.scanning import cells as at
from detector.ingest.scanning.fields import (
    ANSWER,
    CHANCES,
    COLUMN,
    KIND,
    LABEL,
    LABELLED,
    LEFT,
    LEVEL,
    MOST,
    NULLABLE,
    NUMBER,
    OPEN,
    PACKED,
    RATE,
    REQUIRED,
    SKIP,
    TEXT,
    TIME,
    TRUST,
    VALUE,
    VECTOR,
    WHOLE,
    field_of,
)
from detector.ingest.scanning.machine import byte, cell, part, put, put_bits, put_float, word
from detector.ingest.scanning.moments import FIRST_MS, moment, reading_of_fraction, reading_of_whole
from detector.ingest.scanning.numbers import number, whole
from detector.ingest.scanning.packed import MISSING, code_of_place, code_of_text, unpacked
from detector.ingest.scanning.texts import (
    ESCAPED,
    FALSE,
    FIVE_BYTES,
    FOUR_BYTES,
    TRUE,
    after_null,
    beyond,
    key,
    next_of,
    skipped,
    text,
)

__all__ = ["CONFIDENCE", "RUNNER_UP", "WEIGHT", "record"]

CONFIDENCE, RUNNER_UP, WEIGHT = range(3)  # columns of the rates of a record

FLOAT32_MAX: Final = 3.4028234663852886e38
LEAST: Final = -PROBABILITY_SLACK
MOST_LIKELY: Final = 1 + PROBABILITY_SLACK


@part
def numbers(p, row, rates, vector, of_input):
    """Read the list at `p`, an input or probabilities; return the place behind it, 0 where the record is to be left.

    An input is written to the address `vector`, with NaN for null. Of probabilities the two largest are kept, and the place of
    the largest as the label; those that begin with a sign are left.
    """
    if byte(p) != 0x5B:
        return 0
    p = beyond(p + 1)
    count, missing, top = 0, 0, 0
    largest, second = -1.0, -1.0
    while True:
        if of_input and byte(p) == 0x6E:
            p = after_null(p)
            if p == 0:
                return 0
            put_bits(vector, count, MISSING)
            missing += 1
        else:
            negative = byte(p) == 0x2D
            p, value = number(p)
            if p == 0:
                return 0
            if of_input:
                if not -FLOAT32_BOUND < value < FLOAT32_BOUND:
                    return 0
                put_float(vector, count, value)
            else:
                if negative or not LEAST <= value <= MOST_LIKELY:
                    return 0
                if value > largest:
                    second = largest
                    largest = value
                    top = count
                elif value > second:
                    second = value
        count += 1
        p, done = next_of(p, 0x5D)
        if p == 0:
            return 0
        if done:
            break
    if of_input:
        put(row, at.LENGTH, count)
        return p if missing < count else 0
    if count == 1:  # the probability of the first of two classes
        second = 1.0 - largest
        if second > largest:
            largest, second, top = second, largest, 1
    put_float(rates, CONFIDENCE, largest)
    put_float(rates, RUNNER_UP, second)
    put(row, at.TOP, top)
    return p


@part
def quoted(p, base, row, vector, latest, field):
    """Read the text at `p` as its field wants; return the place behind it, 0 where the record is to be left."""
    end, holds = text(p)
    if end == 0:
        return 0
    kind = KIND[field]
    begin = p + 1
    if kind == TEXT:
        if end - begin > MOST[field] or (NULLABLE[field] == 0 and end == begin):
            return 0
        put(row, COLUMN[field], begin - base)
        put(row, COLUMN[field] + 1, end - base)
        put(row, at.HOLDS, cell(row, at.HOLDS) | holds)
    elif kind == LABEL:
        if end - begin > TEXT_CHARACTERS:
            return 0
        if holds & ESCAPED:
            put(row, at.LABEL, begin - base)
            put(row, at.LABEL + 1, end - base)
        else:
            put(row, at.CODE, code_of_text(begin, end))
    elif holds != 0:
        return 0
    elif kind == TIME:
        ms = moment(begin, end)
        if not FIRST_MS <= ms <= latest:
            return 0
        put(row, at.TIME, ms)
    elif kind == PACKED:
        count = unpacked(begin, end, vector)
        if count == 0 or cell(row, at.LENGTH) != 0:
            return 0
        put(row, at.LENGTH, count)
    else:
        return 0
    return end + 1


@part
def unquoted(p, row, rates, latest, kind):
    """Read the number or the truth at `p` as its field wants; return the place behind it, 0 where the record is to be left."""
    if kind == TRUST:
        if word(p) & FOUR_BYTES == TRUE:
            put(row, at.TRUSTED, 2)
            return p + 4
        if word(p) & FIVE_BYTES == FALSE:
            put(row, at.TRUSTED, 1)
            return p + 5
        return 0
    if kind == LABEL or kind == WHOLE or kind == TIME:
        end, value = whole(p)
        if end != 0:
            if kind == LABEL:
                put(row, at.CODE, code_of_text(p, end))
            elif kind == TIME:
                ms = reading_of_whole(value)
                if not FIRST_MS <= ms <= latest:
                    return 0
                put(row, at.TIME, ms)
            return end
        if kind != TIME:
            return 0
    elif kind != NUMBER and kind != RATE and kind != VALUE:
        return 0
    end, exact = number(p)
    if end == 0:
        return 0
    if kind == TIME:
        ms = reading_of_fraction(p, end, exact)
        if not FIRST_MS <= ms <= latest:
            return 0
        put(row, at.TIME, ms)
    elif kind == RATE:
        if not exact >= 1.0:
            return 0
        put_float(rates, WEIGHT, min(exact, FLOAT32_MAX))
    elif kind == NUMBER and exact < 0.0:  # a predicted value may be, and is not used beside a label or probabilities
        return 0
    return end


@part
def record(p, base, row, rates, vector, latest):
    """Read the record at `p`; return the place behind it, 0 where it is to be left.

    `row` and `rates` are the addresses of its row of cells and of its rates, `vector` that where its input is written. Its time
    is to be at most `latest` milliseconds.
    """
    p = beyond(p)
    if byte(p) != 0x7B:
        return 0
    p = beyond(p + 1)
    level, seen, given = 0, 0, 0
    while True:
        p, size, first, second = key(p)
        if p == 0:
            return 0
        field = field_of(level, size, first, second)
        kind = SKIP
        b = byte(p)
        if field >= 0:
            kind = KIND[field]
            bit = 1 << field
            if seen & bit:
                return 0
            seen |= bit
            if b == 0x6E:
                if NULLABLE[field] == 0 or after_null(p) == 0:
                    return 0
                kind = SKIP
            else:
                given |= bit
        if kind == OPEN:
            if b != 0x7B:
                return 0
            level = LEVEL[field]
            p = beyond(p + 1)
            continue
        if kind == SKIP:
            p = skipped(p)
        elif kind == VECTOR or kind == CHANCES:
            if kind == VECTOR and cell(row, at.LENGTH) != 0:
                return 0
            p = numbers(p, row, rates, vector, kind == VECTOR)
        elif kind == LEFT:
            return 0
        elif b == 0x22:
            p = quoted(p, base, row, vector, latest, field)
        else:
            p = unquoted(p, row, rates, latest, kind)
        if p == 0:
            return 0
        while True:
            p, done = next_of(p, 0x7D)
            if p == 0:
                return 0
            if not done:
                break
            if level == 0:
                if given & REQUIRED != REQUIRED or given & ANSWER == 0 or cell(row, at.LENGTH) == 0:
                    return 0
                if given & LABELLED == 0:
                    put(row, at.CODE, code_of_place(cell(row, at.TOP)))
                return beyond(p)
            level = 0
