"""Arrival times from real logs, where a folder with some is at hand.

The processes of `detector.redteam.arrivals` are formulas, and features of timing that separate formulas have turned out
inverted on real logs. So measurements should be repeated with gaps that somebody's servers have seen. Nothing depends on
it: no trace is shipped, and where there is none the formulas remain.

Three kinds of files are understood, plain or compressed with gzip, by what is in them: access logs in the combined
format (one stream of arrivals a client address), CSV with a column ``TIMESTAMP`` (one stream; the format of the Azure LLM
inference traces), and JSON Lines with ``timestamp`` in milliseconds and ``hash_ids`` (the Mooncake traces; requests that
share everything but their last blocks belong to one session, and each session is a stream).
"""

import csv
import gzip
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from detector.redteam.conversation import Array

LEAST = 8  # gaps that a stream must have to be replayed
_ACCESS = re.compile(r'^(\S+) \S+ \S+ \[([^\]]+)\] "')


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Real arrivals: the gaps in seconds of each stream that has enough of them, longest stream first."""

    name: str
    streams: tuple[Array, ...]


def read_traces(folder: Path) -> dict[str, Trace]:
    """Read every trace of a folder, by the file's name up to the first dot; files of other kinds are passed over.

    A folder that does not exist, or a file that cannot be read, raises OSError; a broken file of a known kind ValueError.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            continue
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            try:
                times = _times(file)
                gaps = [np.diff(np.sort(np.array(stream))) for stream in times]
            except UnicodeDecodeError:
                continue
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{path}: not the trace that it begins as: {error}") from error
        kept = sorted((stream for stream in gaps if len(stream) >= LEAST), key=len, reverse=True)
        if kept:
            name = path.name.split(".")[0]
            found[name] = Trace(name, tuple(kept))
    return found


def replayed(trace: Trace) -> Callable[[np.random.Generator, float], Iterator[float]]:
    """An arrival process, as those of `detector.redteam.arrivals`, that replays a stream of the trace.

    Each client is given a stream, in proportion to its length, from a random place in it and around again at its end. Gaps
    are scaled so that the stream's mean is the mean gap asked for; where all of them are zero, they are all the mean.

    >>> process = replayed(Trace("two", (np.array([1.0, 3.0]),)))
    >>> gaps = process(np.random.default_rng(0), 10.0)
    >>> sorted([next(gaps), next(gaps)])
    [5.0, 15.0]
    """
    lengths = np.array([len(stream) for stream in trace.streams])

    def process(rng: np.random.Generator, mean: float) -> Iterator[float]:
        stream = trace.streams[int(rng.choice(len(lengths), p=lengths / lengths.sum()))]
        usual = float(stream.mean())
        gaps = stream * (mean / usual) if usual > 0.0 else np.full(len(stream), mean)
        place = int(rng.integers(len(gaps)))
        while True:
            yield float(gaps[place])
            place = (place + 1) % len(gaps)

    return process


def _times(lines: Iterable[str]) -> Iterable[list[float]]:
    """Arrival times in seconds, stream by stream; nothing if the file is of another kind."""
    lines = iter(lines)
    first = next(lines, "")
    if _ACCESS.match(first):
        return _by_address(first, lines)
    if "TIMESTAMP" in first.strip().split(","):
        return [[datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in csv.DictReader([first, *lines])]]
    if first.startswith("{") and '"timestamp"' in first and '"hash_ids"' in first:
        return _by_session(first, lines)
    return []


def _by_address(first: str, lines: Iterator[str]) -> Iterable[list[float]]:
    times: defaultdict[str, list[float]] = defaultdict(list)
    for line in (first, *lines):
        match = _ACCESS.match(line)
        if match:
            times[match[1]].append(datetime.strptime(match[2], "%d/%b/%Y:%H:%M:%S %z").timestamp())
    return times.values()


def _by_session(first: str, lines: Iterator[str]) -> Iterable[list[float]]:
    """A request continues the session whose latest request had the same blocks but for its last, partly filled one."""
    sessions: list[list[float]] = []
    ends: dict[tuple[int, ...], int] = {}
    for line in (first, *lines):
        record = json.loads(line)
        blocks = tuple(record["hash_ids"])
        place = next((ends[blocks[:n]] for n in range(len(blocks), 1, -1) if blocks[:n] in ends), len(sessions))
        if place == len(sessions):
            sessions.append([])
        sessions[place].append(record["timestamp"] / 1000.0)
        ends[blocks[:-1]] = place
    return sessions
