"""Requests and answers that are logged apart: joined by their key, either way round, within a time limit."""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Final, NamedTuple

from msgspec.structs import replace

from detector.ingest.formats.call import Call
from detector.ingest.formats.decoder import Record

__all__ = ["Half", "Joiner"]

_MOST_HALVES: Final = 20_000
_MOST_BYTES: Final = 32 * 1024 * 1024
_OVERHEAD_BYTES: Final = 4096  # of a half besides its record: what was parsed of it


class Half(NamedTuple):
    """One half of a call that waits for the other, the record that it came in, and its time (ms), where the log has one."""

    call: Call
    record: Record
    time_ms: int | None


class Joiner:
    """Holds the halves of calls back until the other one comes.

    Several calls may have one key, since callers choose keys: the first request goes with the first answer. What waits longer
    than the limit, by the time that the records reach meanwhile, is given up; so is the oldest where too many or too large
    ones wait. A half without a time, as in the files of a batch, waits as long as there is room.
    """

    def __init__(self, limit_ms: int) -> None:
        self._limit_ms = limit_ms
        self._waiting: OrderedDict[int, Half] = OrderedDict()  # by the order in which they came
        self._came_ms: dict[int, int] = {}  # the time that the stream had reached when each came
        self._by_key: dict[tuple[str, str], deque[int]] = {}
        self._next = 0
        self._bytes = 0
        self._newest_ms = 0

    def join(self, half: Half) -> Call | None:
        """Return the whole call where the other half waits; else hold this one back."""
        call = half.call
        other = "response" if call.half == "request" else "request"
        self._newest_ms = max(self._newest_ms, half.time_ms or 0)
        numbers = self._by_key.get((call.join, other))
        if not numbers:
            self._hold(half)
            return None
        waited = self._remove(numbers[0])
        first, second = (half, waited) if call.half == "request" else (waited, half)
        return _whole(first, second)

    def __len__(self) -> int:
        """Return how many halves wait."""
        return len(self._waiting)

    def given_up(self) -> Iterator[Half]:
        """Give the halves that have waited too long, oldest first, and forget them."""
        while self._waiting:
            number, oldest = next(iter(self._waiting.items()))
            crowded = len(self._waiting) > _MOST_HALVES or self._bytes > _MOST_BYTES
            timely = oldest.time_ms is None or self._newest_ms - self._came_ms[number] <= self._limit_ms
            if timely and not crowded:
                return
            self._remove(number)
            yield oldest

    def rest(self) -> Iterator[Half]:
        """Give all halves that wait, oldest first, and forget them."""
        while self._waiting:
            yield self._remove(next(iter(self._waiting)))

    def forget(self, gone: Callable[[Hashable], bool]) -> None:
        """Forget the halves whose records' places are `gone`."""
        for number in [number for number, half in self._waiting.items() if gone(half.record.place)]:
            self._remove(number)

    def held(self) -> list[Record]:
        """Return the records of all halves that wait."""
        return [half.record for half in self._waiting.values()]

    def _hold(self, half: Half) -> None:
        self._waiting[self._next] = half
        self._came_ms[self._next] = self._newest_ms
        self._by_key.setdefault((half.call.join, str(half.call.half)), deque()).append(self._next)
        self._next += 1
        self._bytes += len(half.record.value) + _OVERHEAD_BYTES

    def _remove(self, number: int) -> Half:
        half = self._waiting.pop(number)
        del self._came_ms[number]
        key = (half.call.join, str(half.call.half))
        numbers = self._by_key[key]
        numbers.remove(number)
        if not numbers:
            del self._by_key[key]
        self._bytes -= len(half.record.value) + _OVERHEAD_BYTES
        return half


def _whole(request: Half, response: Half) -> Call:
    asked, answered = request.call, response.call
    timed = request.time_ms is not None and response.time_ms is not None
    waited = float(max(0, (response.time_ms or 0) - (request.time_ms or 0))) if timed else None
    return replace(
        asked,
        time=answered.time if request.time_ms is None else request.time_ms,
        response=answered.response,
        version=asked.version or answered.version,
        caller=asked.caller if asked.caller.id else answered.caller,
        headers={**answered.headers, **asked.headers},
        status=answered.status,
        failure=answered.failure,
        latency_ms=waited if asked.latency_ms is None else asked.latency_ms,
        half=None,
    )
