"""One log or several -> one stream of lines; several are merged by event time.

Replicas of a server write a log each, and a client's queries are spread over them. One log after the other would be hours
of late events, so they are merged as the partitions of a topic are. Within one log the order stays: its own disorder is the
engine's business. Each log is read forward only, and a few blocks of each are held.

A record goes when it is its turn by its log's *key*, the time that the log has reached there. The key is the running maximum of
the records' times, where a time that most of the next records contradict does not count: one record dated a day ahead would
hold up its log for a day of the others'. A record whose time cannot be read goes with the one before it. Equal keys go in the
order of the logs. The order thus follows from the logs alone, not from how they are read.
"""

import resource
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from detector.errors import SourceError
from detector.ingest.batch import Origin
from detector.ingest.lines import Chunk, Damaged, Lines
from detector.ingest.source import Position, read_lines
from detector.ingest.wrappers import Wrapper, unwrapped

__all__ = ["Merged", "read_logs"]

_AHEAD = 6  # records after one that say whether its time can be believed

_MOST_LOGS: Final = 2000  # that are merged: of each some blocks are held, half a megabyte or more
_OTHER_FILES: Final = 32  # that a process has open beside the logs

TimeOf: TypeAlias = Callable[[bytes, str], int | None]
_Integers: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Merged:
    """Lines of several logs; `log` and `line` say of each record, the damaged one included, which log and line it was."""

    names: Sequence[str]
    log: _Integers
    line: _Integers
    lines: list[bytes]
    damaged: Damaged | None = None

    def __len__(self) -> int:
        """Return the number of records, the damaged one included."""
        return len(self.log)

    def origin(self, at: int) -> Origin:
        """Return where record `at` came from."""
        return Origin(self.names[self.log[at]], int(self.line[at]))

    def part(self, start: int, stop: int) -> "Merged":
        """Return lines `start` to `stop`, and what is damaged if the last one is among them."""
        if stop >= len(self.lines):
            return Merged(self.names, self.log[start:], self.line[start:], self.lines[start:], self.damaged)
        return Merged(self.names, self.log[start:stop], self.line[start:stop], self.lines[start:stop])


def read_logs(
    logs: Sequence[str],
    *,
    max_record_bytes: int,
    time_of: TimeOf,
    problems: list[str],
    wrapper: Wrapper | Literal["auto", "none"] = "none",
    follow: bool = False,
    stop: Callable[[], bool] | None = None,
    position: Position | None = None,
) -> Iterator[Lines]:
    """Read `logs` as `read_lines` does, several merged by the time that `time_of` gives of a record and its log.

    `wrapper` says what wrapped the lines (`unwrapped`).

    A log that cannot be read to its end is used as far as it can be, the others go on, and `problems` gets a sentence.
    `follow` is for one log alone. Of several logs, `position` is the sum.

    Raises `SourceError` where there are more logs than can be open at once.
    """
    _check_number(len(logs))
    position = Position() if position is None else position
    places = [position] if len(logs) == 1 else [Position() for _ in logs]

    def chunks(log: str, place: Position) -> Iterator[Chunk]:
        try:
            found = read_lines(log, max_record_bytes=max_record_bytes, follow=follow, stop=stop, position=place)
            yield from found if wrapper == "none" else unwrapped(found, wrapper, max_record_bytes)
        except SourceError as error:
            problems.append(str(error))

    streams = [chunks(log, place) for log, place in zip(logs, places, strict=True)]
    if len(logs) == 1:
        yield from streams[0]
        return
    waiting = [_Log(number, logs[number], stream, time_of) for number, stream in enumerate(streams)]
    for merged in _merge(logs, waiting):
        position.consumed = sum(place.consumed for place in places)
        totals = [place.total for place in places if place.total is not None]
        position.total = sum(totals) if len(totals) == len(places) else None
        yield merged


def _check_number(logs: int) -> None:
    """Raise `SourceError` where so many logs cannot be merged: each is open, and some blocks of it in memory, all the time."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if logs > _MOST_LOGS:
        raise SourceError(f"{logs} logs are too many to be merged by time, at most {_MOST_LOGS}: join those of a server first")
    if logs > 1 and allowed != resource.RLIM_INFINITY and logs + _OTHER_FILES > allowed:
        raise SourceError(
            f"{logs} logs are merged by time, and a process may have {allowed} files open: "
            f"allow more (ulimit -n {logs + _OTHER_FILES}), or join the logs of a server first"
        )


class _Log:
    """One of several logs: the block that is next, with the key of each record in it."""

    def __init__(self, number: int, name: str, chunks: Iterator[Chunk], time_of: TimeOf) -> None:
        self.number = number
        self.name = name
        self.records: list[bytes | Damaged] = []
        self.lines: _Integers = np.zeros(0, np.int64)
        self.keys: _Integers = np.zeros(0, np.int64)
        self._chunks = chunks
        self._time_of = time_of
        self._ahead: deque[tuple[Chunk, list[int]]] = deque()
        self._ended = False
        self._last = 0  # time of the last record that has one
        self._reached = 0

    def fill(self) -> bool:
        """Load the next block if none is left; return whether there is one."""
        while not self.records:
            while not self._ended and sum(len(times) for _, times in list(self._ahead)[1:]) < _AHEAD:
                self._read_ahead()
            if not self._ahead:
                return False
            chunk, times = self._ahead.popleft()
            self.records = list(chunk.lines) if chunk.damaged is None else [*chunk.lines, chunk.damaged]
            self.lines = np.array([chunk.origin(at).line for at in range(len(chunk))])
            self.keys = self._keys(times)
        return True

    def take(self, count: int) -> tuple[list[bytes | Damaged], _Integers, _Integers]:
        """Remove the first `count` records; return them, their lines and their keys."""
        taken = self.records[:count], self.lines[:count], self.keys[:count]
        self.records, self.lines, self.keys = self.records[count:], self.lines[count:], self.keys[count:]
        return taken

    def rest(self) -> Iterator[Chunk]:
        """Give everything that is left, as it comes: nothing has to be waited for any more."""
        if self.records:
            *_, last = self.records
            lines = [record for record in self.records if isinstance(record, bytes)]
            damaged = None if isinstance(last, bytes) else last
            yield Chunk(self.name, int(self.lines[0]), lines, damaged, self.lines[: len(lines)].tolist())
        yield from (chunk for chunk, _ in self._ahead)
        yield from self._chunks

    def _read_ahead(self) -> None:
        chunk = next(self._chunks, None)
        if chunk is None:
            self._ended = True
            return
        times = []
        time_of, last, name = self._time_of, self._last, self.name
        for line in chunk.lines:
            time = time_of(line, name)
            if time is not None:
                last = time
            times.append(last)
        self._last = last
        self._ahead.append((chunk, times if chunk.damaged is None else [*times, last]))

    def _keys(self, times: list[int]) -> _Integers:
        following = [time for _, later in self._ahead for time in later[:_AHEAD]][:_AHEAD]
        following += [(following or times)[-1]] * (_AHEAD - len(following))
        windows = np.lib.stride_tricks.sliding_window_view(np.array(times + following, np.int64), _AHEAD + 1)
        usual = np.partition(windows, _AHEAD // 2, axis=1)[:, _AHEAD // 2]
        believed = np.where(windows[:, 0] <= usual, windows[:, 0], 0)
        keys = np.maximum.accumulate(np.maximum(believed, self._reached))
        self._reached = int(keys[-1])
        return keys


def _merge(names: Sequence[str], logs: list[_Log]) -> Iterator[Lines]:
    while len(logs := [log for log in logs if log.fill()]) > 1:
        # What the log of the smallest last key has yet to give comes after that key, and so does what the others have.
        first = min(logs, key=lambda log: (log.keys[-1], log.number))
        bound = first.keys[-1]
        counts = [int(log.keys.searchsorted(bound, "right" if log.number <= first.number else "left")) for log in logs]
        taken = [log.take(count) for log, count in zip(logs, counts, strict=True)]
        order = np.concatenate([keys for _, _, keys in taken]).argsort(kind="stable")
        every = [record for records, _, _ in taken for record in records]
        records = [every[at] for at in order.tolist()]
        log = np.repeat([log.number for log in logs], counts)[order]
        line = np.concatenate([lines for _, lines, _ in taken])[order]
        yield from _cut_at_damage(names, log, line, records)
    for alone in logs:
        yield from alone.rest()


def _cut_at_damage(names: Sequence[str], log: _Integers, line: _Integers, records: list[bytes | Damaged]) -> Iterator[Merged]:
    lines: list[bytes] = []
    start = 0
    for at, record in enumerate(records, 1):
        if isinstance(record, bytes):
            lines.append(record)
        else:
            yield Merged(names, log[start:at], line[start:at], lines, record)
            lines, start = [], at
    if lines:
        yield Merged(names, log[start:], line[start:], lines)
