"""Whether so much is refused that something goes unwatched. It is judged by clients, so that no single client can cause it.

Refused records are kept as dead letters and the stream goes on: what one client sends must never stop the detection of the
others. But a model that was deployed with another input dimension, or a log with a new format, leaves nothing to detect, and
an operator has to know. A stage is *degraded* when, among the records of the last five minutes,

- all records of a model were refused, from several clients; or
- all records of a source partition were, from several clients or from clients that cannot be read; or
- most records of many clients were, and these are a larger share of all clients than ``[kafka] dead_letter_ratio``.

A client counts with at most its last 50 records, however many it sends. Records without a readable client count as one client
of their partition. Late events never count: a log shipper that is late loses its own events and no others. Nothing is saved, so
a restart begins with nothing known. The state ends by itself once good records come.
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

WINDOW_S = 300.0  # a client that has sent nothing for longer no longer counts
SAMPLE = 128  # records examined per batch, and as many refusals
CAP = 50  # records of one client that count
LEAST = 20  # fewest counted records on which a model or partition is judged
SEVERAL = 3  # fewest clients that make a model or partition degraded
MANY = 10  # fewest clients with mostly refused records that make the stage degraded
ALL = 0.99  # share of refused records that counts as all
MOST_CELLS = 8192  # clients tracked at a time, once per model and partition; bounds the memory
JUDGE_EVERY_S = 5.0
SAMPLE_EVERY_S = 1.0  # between samples while nothing is refused, so that the clients are known when refusals begin
TELL_EVERY_S = 60.0
MOST_TOLD = 160  # characters of an example in a log line
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
        """Return it as a sentence.

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
    """The clients of one model, of one partition, or all clients; None stands for unreadable clients."""

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
        """Whether all counted records were refused, and at least `LEAST` were counted."""
        shares = [(min(records, CAP), refused / records) for records, refused in self._clients.values() if records]
        records = sum(count for count, _ in shares)
        return records >= LEAST and sum(count * share for count, share in shares) >= ALL * records

    @property
    def unread(self) -> bool:
        """Whether at least `LEAST` refused records had no readable client."""
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
        example = "".join(character if character.isprintable() else "·" for character in self._examples[reason])
        return Verdict(kind, name, self.refusing, reason, example)


class RefusalMonitor:
    """Monitors what one stage refuses. With `ratio` 1 it never reports anything; `monotonic` is for tests."""

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
        """What goes unwatched, in a sentence; None while nothing does. Safe to read from another thread."""
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
        """Count what was read: events, the refusals `beside` them, and the refusals `among` them (events of known clients).

        `place` returns the partition that a sequence came from. A large batch is sampled, and while nothing was refused lately
        only one batch a second is, so the cost per record is well below a microsecond.
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
        """Yield a sample with the weight of each entry. Good and refused records are sampled apart, so rare ones count."""
        stride = -(-len(entries) // SAMPLE) | 1  # odd, since clients that alternate do so in twos, tens and twenties
        self._turn += 1  # so that a periodic entry is not missed for ever
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
        """Judge, if it is time; call it regularly, also while no records come."""
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
        """Log the verdict at most once a minute, and once when it is over."""
        if self._verdicts and now >= self._told_s + TELL_EVERY_S:
            self._told, self._told_s = True, now
            found = self._verdicts[0]
            log.warning(
                "degraded: refused records are not watched, everything else is",
                stage=self._stage,
                finding=found.tell(),
                clients=found.clients,
                example=found.example,
                more=len(self._verdicts) - 1,
                to_do="fix the model's configuration or the log's format, then run `detector dead-letters replay`",
            )
        elif self._told and not self._verdicts:
            self._told = False
            log.info("no longer degraded: records are accepted again", stage=self._stage)
