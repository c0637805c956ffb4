"""Replay of dead letters on Kafka: the records are sent back once the cause of the refusal is fixed.

A replay writes a record's bytes, with its former key and headers, to the topic and partition it came from, as a new record.
Use it for records that were wrongly refused (a wrong dimension in the configuration, an older version of this service). It is
of no use for late records, which are refused again. A record that is refused again becomes a new dead letter.

The consumer group ``<group_id>.dead-letters`` keeps the progress, so a second run continues where the first ended. Each reason
has its own progress: once all dead letters of one reason were sent, a run over everything leaves those out. The committed
offset says up to where every dead letter was handled; its metadata say how much further single reasons are. The group commits
only after the broker has acknowledged what was sent: a crash may send some records twice and loses none.
"""

import json
import signal
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from types import FrameType, TracebackType
from typing import Any, Self

from kafka import OffsetAndMetadata, TopicPartition

from detector.config import Config
from detector.errors import ConfigError
from detector.ingest.source import Position
from detector.service.dead_letters.records import REASONS, StoredDeadLetter, by_origin, dead_letters_between, reading
from detector.service.kafka.connection import Connection
from detector.service.kafka.producer import StageProducer
from detector.service.kafka.topics import Topics, partitions_of

MOST_RECORDS = 500  # sent between two commits: as many may be sent twice after a crash
MOST_BYTES = 8 * 1024 * 1024  # of records sent between two commits, which are held in memory
MOST_MARKS = 100_000  # hashes of records sent: a repeat within so many is left out
COMMIT_MS = 30_000

Progress = Callable[[Position, str], None]


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a partition of the dead letters was handled: for every reason up to `offset`, for single reasons further.

    >>> before = Reached(10, {"json": 25})
    >>> [before.open(offset, "json") for offset in (9, 20, 25)], before.open(20, "late")
    ([False, False, True], True)
    >>> before.moved(30, "late")
    Reached(offset=10, ahead={'json': 25, 'late': 30})
    >>> before.moved(20, None), before.moved(30, None)
    (Reached(offset=20, ahead={'json': 25}), Reached(offset=30, ahead={}))
    """

    offset: int
    ahead: dict[str, int] = field(default_factory=dict)

    def open(self, offset: int, reason: str) -> bool:
        """Whether a dead letter is still to be handled."""
        return offset >= max(self.offset, self.ahead.get(reason, 0))

    def start(self, asked: str | None) -> int:
        """Return where a run over the reason `asked`, or over all, begins."""
        return self.offset if asked is None else max(self.offset, self.ahead.get(asked, 0))

    def moved(self, offset: int, asked: str | None) -> "Reached":
        """Return the progress after a run over `asked` reached `offset`; it never moves back."""
        if asked is None:
            base = max(self.offset, offset)
            return Reached(base, {reason: place for reason, place in self.ahead.items() if place > base})
        place = max(self.ahead.get(asked, 0), offset)
        return Reached(self.offset, self.ahead | ({asked: place} if place > self.offset else {}))

    def committed(self) -> OffsetAndMetadata:
        """Return it as Kafka keeps it."""
        return OffsetAndMetadata(self.offset, json.dumps(self.ahead, sort_keys=True) if self.ahead else "", -1)

    @classmethod
    def read(cls, committed: OffsetAndMetadata | None, begin: int, end: int) -> "Reached":
        """Read what was committed for a partition that holds the offsets from `begin` to `end`.

        >>> Reached.read(OffsetAndMetadata(7, '{"json": 9}', -1), 5, 20)
        Reached(offset=7, ahead={'json': 9})
        >>> Reached.read(OffsetAndMetadata(7, "of another program", -1), 8, 20), Reached.read(None, 3, 20)
        (Reached(offset=8, ahead={}), Reached(offset=3, ahead={}))
        """
        if committed is None or not 0 <= committed.offset <= end:  # of a topic that was there before this one
            return cls(begin)
        try:
            ahead = {str(reason): int(place) for reason, place in json.loads(committed.metadata or "{}").items()}
        except (ValueError, TypeError, AttributeError):
            ahead = {}
        base = max(committed.offset, begin)
        return cls(base, {reason: place for reason, place in ahead.items() if base < place <= end})


@dataclass(slots=True)
class ResentRecords:
    """What a replay sent (or would send), by topic and reason, and how many it left out for which cause."""

    sent: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeated: int = 0
    homeless: int = 0
    cut: int = 0
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        sent = [{"topic": topic, "reason": reason, "records": n} for (topic, reason), n in sorted(self.sent.items())]
        left_out = {"repeated": self.repeated, "homeless": self.homeless, "cut": self.cut}
        return {"sent": sent, **left_out, "interrupted": self.interrupted}


def replay(
    config: Config,
    *,
    reason: str | None = None,
    again: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ResentRecords:
    """Send the records of dead letters, or of those with `reason`, back to where they came from.

    Records that an earlier run sent are left out, unless `again`; with `dry_run` it only counts. Ctrl-C ends it after the
    current batch, with `interrupted`; the next run continues there. What arrives meanwhile is left for the next run.

    Raises `ConfigError` for an unknown reason, `ServiceError` when Kafka cannot be read or does not take a record.
    """
    if reason is not None and reason not in REASONS:
        raise ConfigError(f"there is no reason {reason!r}; known: {', '.join(REASONS)}")
    connection = Connection(config.kafka)
    group = f"{config.kafka.group_id}.dead-letters"
    with reading(config, connection, group) as (consumer, partitions), _Sender(config, connection, dry_run=dry_run) as sender:
        ends = consumer.end_offsets(partitions)
        begins = consumer.beginning_offsets(partitions)
        reached = {
            place: Reached.read(consumer.committed(place, metadata=True, timeout_ms=COMMIT_MS), begins[place], ends[place])
            for place in partitions
        }
        starts = {place: begins[place] if again else before.start(reason) for place, before in reached.items()}
        position = Position(0, sum(ends[place] - start for place, start in starts.items()))
        with _asked_to_stop() as stop:
            for batch in _batches(dead_letters_between(consumer, starts, ends)):
                asked = [dead_letter for dead_letter in batch if reason in {None, dead_letter.reason}]
                sender.send(
                    [
                        dead_letter
                        for dead_letter in asked
                        if again or reached[_place(dead_letter)].open(dead_letter.at.offset, dead_letter.reason)
                    ]
                )
                come_to = {_place(dead_letter): dead_letter.at.offset + 1 for dead_letter in batch}
                reached |= {place: reached[place].moved(offset, reason) for place, offset in come_to.items()}
                if not dry_run:
                    consumer.commit({place: reached[place].committed() for place in come_to}, timeout_ms=COMMIT_MS)
                position.consumed += len(batch)
                if progress is not None:
                    progress(position, f"{sum(sender.done.sent.values()):,} of {position.consumed:,} sent")
                if stop.is_set():
                    sender.done.interrupted = True
                    break
    return sender.done


class _Sender:
    """Sends batches of records back and counts them; remembers what it sent last, and which topics exist."""

    def __init__(self, config: Config, connection: Connection, *, dry_run: bool) -> None:
        self.done = ResentRecords()
        self._connection = connection
        self._topics = Topics.under(config.kafka.prefix)
        self._dry_run = dry_run
        self._sizes: dict[str, int] = {}
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._producer: StageProducer | None = None

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            self._admin = self._connection.admin()
            opened.callback(self._admin.close)
            if not self._dry_run:
                self._producer = StageProducer(self._connection, self._topics)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        if self._producer is not None:
            (self._producer.close if kind is None else self._producer.abandon)()
        self._opened.close()

    def send(self, dead_letters: Sequence[StoredDeadLetter]) -> None:
        """Send records in their original order; return when all are acknowledged."""
        for dead_letter in by_origin(dead_letters):
            origin = dead_letter.origin
            if origin is None or origin.partition >= self._size(origin.topic):
                self.done.homeless += 1
            elif dead_letter.cut:
                self.done.cut += 1
            elif self._seen(dead_letter, origin.topic):
                self.done.repeated += 1
            else:
                if self._producer is not None:
                    headers = list(dead_letter.headers)
                    self._producer.send(origin.topic, dead_letter.key, dead_letter.record, headers, partition=origin.partition)
                self.done.sent[origin.topic, dead_letter.reason] += 1
        if self._producer is not None:
            self._producer.flush()

    def _size(self, topic: str) -> int:
        if topic not in self._sizes:
            self._sizes[topic] = partitions_of(self._admin, [topic]).get(topic, 0)
        return self._sizes[topic]

    def _seen(self, dead_letter: StoredDeadLetter, topic: str) -> bool:
        named = [part for name, value in dead_letter.headers for part in (name.encode(), value)]
        parts = (topic.encode(), b"" if dead_letter.key is None else b"=" + dead_letter.key, dead_letter.record, *named)
        mark = blake2b(b"".join(len(part).to_bytes(8, "little") + part for part in parts), digest_size=16).digest()
        if mark in self._known:
            return True
        self._known[mark] = None
        if len(self._known) > MOST_MARKS:
            self._known.popitem(last=False)
        return False


def _place(dead_letter: StoredDeadLetter) -> TopicPartition:
    return TopicPartition(dead_letter.at.topic, dead_letter.at.partition)


def _batches(dead_letters: Iterable[StoredDeadLetter]) -> Iterator[list[StoredDeadLetter]]:
    batch: list[StoredDeadLetter] = []
    size = 0
    for dead_letter in dead_letters:
        batch.append(dead_letter)
        size += len(dead_letter.record)
        if len(batch) >= MOST_RECORDS or size >= MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """Let the first Ctrl-C set the event for an orderly end; the second interrupts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def summary(done: ResentRecords, *, dry_run: bool) -> list[str]:
    """Return what a replay did, as lines of text."""
    verb = "would send" if dry_run else "sent"
    lines = [f"{verb} {count:,} ({reason}) to {topic}" for (topic, reason), count in sorted(done.sent.items())]
    if done.repeated:
        lines.append(f"left out {done.repeated:,}: the same record as another dead letter")
    if done.homeless:
        lines.append(
            f"left out {done.homeless:,}: the topic or partition they came from does not exist; `--all` sends them once it does"
        )
    if done.cut:
        lines.append(f"left out {done.cut:,}: the dead letter holds only their beginning, or the compressed batch they were in")
    if done.interrupted:
        lines.append("interrupted: the next run continues from here")
    return lines or ["there is nothing to send"]
