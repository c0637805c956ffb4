"""Times of events: RFC 3339 text with an offset, and numbers since 1970."""

from typing import Final

from detector.contracts.moment import FIRST_EVENT_MS, LAST_MS
from detector.ingest.scanning.machine import byte, part

__all__ = ["FIRST_MS", "moment", "reading_of_fraction", "reading_of_whole"]

FIRST_MS: Final = FIRST_EVENT_MS
LAST: Final = LAST_MS
DAYS_TO_1970: Final = 719_468  # from 1 March of the year 0


@part
def two_digits(p):
    """Return the number that two digits write, 1000 where they are none."""
    a, b = byte(p) - 48, byte(p + 1) - 48
    return a * 10 + b if 0 <= a <= 9 and 0 <= b <= 9 else 1000


@part
def is_day(year, month, day):
    """Tell whether the calendar has that day; `year` has four digits."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return False
    if day <= 28:
        return True
    if month == 2:
        return day == 29 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day < 31 or (month != 4 and month != 6 and month != 9 and month != 11)


@part
def days_to(year, month, day):
    """Return the days from 1970-01-01 to a day: the year is taken to begin in March."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - DAYS_TO_1970


@part
def moment(p, end):
    """Return the milliseconds of the text from `p` to `end`, -1 where it is no time, or one that is left.

    Left are leap seconds, lower-case letters and times without an offset.
    """
    if end - p < 20 or end - p > 64:
        return -1
    if byte(p + 4) != 0x2D or byte(p + 7) != 0x2D or byte(p + 10) != 0x54 or byte(p + 13) != 0x3A or byte(p + 16) != 0x3A:
        return -1
    century, years, month, day = two_digits(p), two_digits(p + 2), two_digits(p + 5), two_digits(p + 8)
    hour, minute, second = two_digits(p + 11), two_digits(p + 14), two_digits(p + 17)
    if century > 99 or years > 99 or not is_day(century * 100 + years, month, day) or hour > 23 or minute > 59 or second > 59:
        return -1
    p += 19
    thousandths = 0
    if byte(p) == 0x2E:
        p += 1
        begin = p
        worth = 100
        c = byte(p) - 48
        while 0 <= c <= 9:
            thousandths += c * worth
            worth //= 10
            p += 1
            c = byte(p) - 48
        if p == begin:
            return -1
    ahead = 0
    b = byte(p)
    if b == 0x5A:
        p += 1
    elif b == 0x2B or b == 0x2D:
        hours, minutes = two_digits(p + 1), two_digits(p + 4)
        if hours > 23 or minutes > 59 or byte(p + 3) != 0x3A:
            return -1
        ahead = hours * 60 + minutes
        if b == 0x2D:
            ahead = -ahead
        p += 6
    else:
        return -1
    if p != end:
        return -1
    days = days_to(century * 100 + years, month, day)
    ms = ((days * 24 + hour) * 60 + minute - ahead) * 60_000 + second * 1000 + thousandths
    return ms if ms <= LAST else -1


@part
def reading_of_whole(value):
    """Return the milliseconds that a whole number since 1970 means; its size tells its unit. -1 below 0."""
    if value < 0:
        return -1
    if value < 10**11:
        return value * 1000
    if value < 10**14:
        return value
    return value // 1000 if value < 10**17 else value // 1_000_000


@part
def reading_of_fraction(p, end, value):
    """Return the milliseconds that a number since 1970 means, -1 where it is left; it is written from `p` to `end`.

    Left are fractions of microseconds and nanoseconds, and whole numbers, which are too long to be read here.
    """
    if not 0.0 <= value < 1e14:
        return -1
    fraction = False
    while p < end:
        b = byte(p)
        fraction = fraction or b == 0x2E or b == 0x65 or b == 0x45
        p += 1
    # Rounded to microseconds, as `contracts.moment` does.
    microseconds = value * (1e6 if value < 1e11 else 1e3)
    if not fraction or microseconds < FIRST_MS * 1e3:
        return -1
    return nearest_whole(microseconds) // 1000


@part
def nearest_whole(x):
    """Return the whole number nearest to x, of two the even one; 0 <= x < 2**62."""
    low = int(x)
    rest = x - low
    if rest > 0.5 or (rest == 0.5 and low & 1):
        low += 1
    return low
