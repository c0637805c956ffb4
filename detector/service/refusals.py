"""Whether so much is refused that something goes unwatched, judged by clients so that none of them can bring it about.

Refused records are kept as dead letters and the stream goes on: what one client sends must never stop the detection of the
others. But a model that was deployed with another input dimension, or a log with a new format, leaves nothing to detect, and
somebody has to know. A stage is *degraded* when, of what came lately,

- all records of a model were refused, from several clients; or
- all records of a source partition were, from several clients or from clients that cannot be read; or
- most records of many clients were, and these are a larger share of all clients than ``[kafka] dead_letter_ratio``.

A client counts by its last records and only so many of them, however many it sends; what bears no readable client counts as one
client of its partition. Late events never count: a delayed shipper harms nothing but its own order. Nothing is saved, so a
restart begins afresh, and good records end it by themselves.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np
import structlog
from kafka import TopicPartition

from detector.ingest.batch import Batch
from detector.service.telemetry.metrics import Metrics, StageName

WINDOW_S = 300.0  # a client that has sent nothing for so long no longer counts
SAMPLE = 128  # records of a batch that are looked at, and as many refusals
CAP = 50  # records of one client that count
LEAST = 20  # records, so counted, below which nothing is said of a model or partition
SEVERAL = 3  # clients
MANY = 10  # clients
ALL = 0.99
MOST_CELLS = 8192  # clients that are known at a time, once per model and partition
JUDGE_EVERY_S = 5.0
SAMPLE_EVERY_S = 1.0  # while nothing is refused: who is read is known when it begins
TELL_EVERY_S = 60.0
MOST_TOLD = 160  # letters of an example
UNCOUNTED = frozenset({"late"})

Kind = Literal["model", "partition", "clients"]
KINDS: tuple[Kind, ...] = ("model", "partition", "clients")

log = structlog.get_logger(__name__)

T = TypeVar("T")
_Key: TypeAlias = tuple[TopicPartition, str | None, str | None]  # partition, model, client


class Refused(NamedTuple):
    """A record that was refused, at its place in the stream; client and model where they could be read."""

    sequence: int
    reason: str
    detail: str
    client: str | None = None
    model: str | None = None

    @classmethod
    def of(cls, refusal: Any, sequence: int | None = None) -> "Refused":
        """Return it for a rejection of ingest or a refusal of the engine; `sequence` in place of its own."""
        client, model = getattr(refusal, "client", None), getattr(refusal, "model", None)
        return cls(refusal.sequence if sequence is None else sequence, refusal.reason, refusal.detail, client, model)


class Verdict(NamedTuple):
    """What goes unwatched: all of a model, all of a partition (`name`), or many clients."""

    kind: Kind
    name: str
    clients: int
    reason: str
    example: str

    def tell(self) -> str:
        """Return the sentence for people.

        >>> Verdict("model", "fraud", 14, "dimension", "9 numbers").tell()
        "all recent records of model 'fraud' are refused, most as 'dimension'"
        """
        match self.kind:
            case "model":
                what = f"all recent records of model {self.name[:MOST_TOLD]!r} are refused"
            case "partition":
                what = f"all recent records of partition {self.name} are refused"
            case _:
                what = f"most recent records of {self.clients} clients are refused"
        return f"{what}, most as {self.reason!r}"


@dataclass(slots=True)
class _Cell:
    """The latest records of one client, model and partition: how many, and how many of them were refused."""

    seen_s: float = 0.0
    records: float = 0.0
    refused: float = 0.0
    reason: str = ""
    detail: str = ""

    def add(self, records: int, refused: int, now_s: float) -> None:
        self.seen_s = now_s
        self.records += records
        self.refused += refused
        if self.records > CAP:
            self.refused *= CAP / self.records
            self.records = CAP


class _Tally:
    """The clients of a model or partition, or all; None is a client that could not be read."""

    def __init__(self) -> None:
        self._clients: dict[str | None, list[float]] = {}
        self._why: Counter[str] = Counter()
        self._examples: dict[str, str] = {}

    def add(self, client: str | None, cell: _Cell) -> None:
        counted = self._clients.setdefault(client, [0.0, 0.0])
        counted[0] += cell.records
        counted[1] += cell.refused
        if cell.refused:
            self._why[cell.reason] += 1
            self._examples.setdefault(cell.reason, cell.detail)

    @property
    def refused_all(self) -> bool:
        """Whether all that counts was refused, and it is enough to say so."""
        shares = [(min(records, CAP), refused / records) for records, refused in self._clients.values() if records]
        records = sum(count for count, _ in shares)
        return records >= LEAST and sum(count * share for count, share in shares) >= ALL * records

    @property
    def unread(self) -> bool:
        """Whether enough was refused of which no client could be read."""
        return self._clients.get(None, [0.0, 0.0])[1] >= LEAST

    @property
    def known(self) -> int:
        """How many clients there are."""
        return len(self._clients) - (None in self._clients)

    @property
    def refusing(self) -> int:
        """How many clients had most of their records refused."""
        return sum(2 * refused > records for client, (records, refused) in self._clients.items() if client is not None)

    def verdict(self, kind: Kind, name: str) -> Verdict:
        ((reason, _),) = self._why.most_common(1)
        example = "".join(letter if letter.isprintable() else "·" for letter in self._examples[reason])
        return Verdict(kind, name, self.refusing, reason, example)


class RefusalMonitor:
    """Watches what one stage refuses. `ratio` 1 never finds anything; `monotonic` is for tests."""

    def __init__(
        self, stage: StageName, ratio: float, metrics: Metrics, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._stage = stage
        self._ratio = ratio
        self._metrics = metrics
        self._monotonic = monotonic
        self._cells: OrderedDict[_Key, _Cell] = OrderedDict()
        self._verdicts: list[Verdict] = []
        self._refused_s = self._sampled_s = self._judged_s = self._told_s = float("-inf")
        self._told = False
        self._turn = 0

    @property
    def trouble(self) -> str | None:
        """What goes unwatched, in a sentence; None while all is well. May be asked from another thread."""
        verdicts = self._verdicts
        more = f" (and {len(verdicts) - 1} more like that)" if len(verdicts) > 1 else ""
        return f"{verdicts[0].tell()}{more}" if verdicts else None

    def note(
        self,
        batches: Sequence[Batch],
        beside: Iterable[Refused],
        among: Iterable[Refused],
        place: Callable[[int], TopicPartition],
    ) -> None:
        """Take note of what was read: events, refusals `beside` them, and the refusals `among` them, whose client they tell.

        `place` returns the partition that a sequence came from. Of a large batch every so many records are looked at, and
        while nothing was refused lately a batch now and then, so it costs a small part of a microsecond a record.
        """
        unread, refused = list(beside), {entry.sequence: entry for entry in among}
        now = self._monotonic()
        if any(entry.reason not in UNCOUNTED for entry in (*unread, *refused.values())):
            self._refused_s = now
        if now - self._refused_s > WINDOW_S and now < self._sampled_s + SAMPLE_EVERY_S:
            return
        self._sampled_s = now
        for batch in batches:
            is_refused = np.isin(batch.sequence, list(refused))
            for row, weight in self._some(np.flatnonzero(is_refused).tolist()):
                entry = refused[int(batch.sequence[row])]._replace(client=batch.client[row], model=batch.model)
                self._refuse(place(entry.sequence), entry, weight, now)
            good: Counter[_Key] = Counter()
            for row, weight in self._some(np.flatnonzero(~is_refused).tolist()):
                good[place(int(batch.sequence[row])), batch.model, batch.client[row]] += weight
            for key, records in good.items():
                self._cell(key).add(records, 0, now)
        for entry, weight in self._some(unread):
            self._refuse(place(entry.sequence), entry, weight, now)

    def _some(self, entries: Sequence[T]) -> Iterator[tuple[T, int]]:
        """Yield some of them, with how many each stands for: what is rare beside them is looked at all the same."""
        stride = -(-len(entries) // SAMPLE) | 1  # odd: clients that take turns come in twos, tens and twenties
        self._turn += 1  # so that nothing that comes at a rhythm is missed for ever
        for entry in entries[self._turn % stride :: stride]:
            yield entry, stride

    def _refuse(self, place: TopicPartition, entry: Refused, records: int, now: float) -> None:
        if entry.reason not in UNCOUNTED:
            cell = self._cell((place, entry.model, entry.client))
            cell.add(records, records, now)
            cell.reason, cell.detail = entry.reason, entry.detail[:MOST_TOLD]

    def _cell(self, key: _Key) -> _Cell:
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell()
            if len(self._cells) > MOST_CELLS:
                self._cells.popitem(last=False)
        else:
            self._cells.move_to_end(key)
        return cell

    def check(self) -> None:
        """Judge, if it is time; to be called now and then, whether anything comes or not."""
        now = self._monotonic()
        if now < self._judged_s + JUDGE_EVERY_S:
            return
        self._judged_s = now
        while self._cells and next(iter(self._cells.values())).seen_s < now - WINDOW_S:
            self._cells.popitem(last=False)
        self._verdicts = self._judge() if self._ratio < 1 else []
        self._metrics.degraded(self._stage, {kind: any(found.kind == kind for found in self._verdicts) for kind in KINDS})
        self._tell(now)

    def _judge(self) -> list[Verdict]:
        models: dict[str, _Tally] = {}
        places: dict[TopicPartition, _Tally] = {}
        everything = _Tally()
        for (place, model, client), cell in self._cells.items():
            everything.add(client, cell)
            places.setdefault(place, _Tally()).add(client, cell)
            if model is not None:
                models.setdefault(model, _Tally()).add(client, cell)
        return [*self._of_models(models), *self._of_places(places), *self._of_clients(everything)]

    @staticmethod
    def _of_models(models: Mapping[str, _Tally]) -> list[Verdict]:
        return [
            tally.verdict("model", model)
            for model, tally in sorted(models.items())
            if tally.refusing >= SEVERAL and tally.refused_all
        ]

    @staticmethod
    def _of_places(places: Mapping[TopicPartition, _Tally]) -> list[Verdict]:
        return [
            tally.verdict("partition", f"{place.topic}-{place.partition}")
            for place, tally in places.items()
            if (tally.refusing >= SEVERAL or tally.unread) and tally.refused_all
        ]

    def _of_clients(self, everything: _Tally) -> list[Verdict]:
        many = everything.refusing >= MANY and everything.refusing > self._ratio * everything.known
        return [everything.verdict("clients", "")] if many else []

    def _tell(self, now: float) -> None:
        """Say it in the log once a minute at most, and once when it is over."""
        if self._verdicts and now >= self._told_s + TELL_EVERY_S:
            self._told, self._told_s = True, now
            found = self._verdicts[0]
            log.warning(
                "degraded: what is refused is not watched, everything else is",
                stage=self._stage,
                finding=found.tell(),
                clients=found.clients,
                example=found.example,
                more=len(self._verdicts) - 1,
                to_do="mend the model's configuration or the log's format, then `detector dead-letters replay`",
            )
        elif self._told and not self._verdicts:
            self._told = False
            log.info("records are no longer refused like that", stage=self._stage)
