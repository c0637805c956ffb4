"""The one clock.

Everything the engine decides follows event time. The wall clock is asked for two things only: whether a record claims to
come from the future, and how far the stream lags behind. Both ask a `Clock`, so a test can hold time still.
"""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Tells the time in milliseconds since 1970-01-01T00:00:00Z."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, by the operating system."""
        return time.time_ns() // 1_000_000


@dataclass(slots=True)
class HeldClock:
    """A clock that stands still until it is moved; for tests and simulations.

    >>> clock = HeldClock(1_000)
    >>> clock.now_ms()
    1000
    """

    at_ms: int

    def now_ms(self) -> int:
        """Return the moment it was set to."""
        return self.at_ms
