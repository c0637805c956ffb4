"""The client table of one model inside a shard: its clients in memory, their eviction, and the processing of a batch.

A batch is admitted, then runs through the compiled kernels (`compute`). Events with evidence or an evaluation are then judged
one by one (`walk`).

Nothing here depends on where a batch was cut. Where the order of events matters across families (an evaluation that teaches the
trees, a client that must make room), the batch is walked, or split, at exactly that event.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.engine.account import Account, account_of, accounts_of
from detector.engine.client_codec import ROWS_AT_ONCE, ClientCodec
from detector.engine.compute import Computed, Kernels, Rules
from detector.engine.evidence.accumulate import OPEN
from detector.engine.examples import Examples
from detector.engine.features.distances import WINDOW
from detector.engine.findings import EngineRefusal, Outputs, Reading, Report
from detector.engine.guard import DAY_MS
from detector.engine.judge import Judge
from detector.engine.kinds import Kinds
from detector.engine.links.drawing import sketches_of
from detector.engine.memory.admission import FRESH, LATE, Admitted
from detector.engine.memory.kept import Kept
from detector.engine.memory.ledger import Ledger
from detector.engine.memory.reservoir import RING
from detector.engine.models.novelty import LESSONS, Novelty
from detector.engine.models.reference import Reference
from detector.engine.observer import Observer, Seen
from detector.engine.odometer.meters import Meters
from detector.engine.parking import InMemory, Parked
from detector.engine.policy import ALERT
from detector.engine.reports import reports_of
from detector.engine.slots import Slots
from detector.engine.state import HARM, ClientSnapshot, Columns
from detector.engine.walk import Stretch, Walk
from detector.ingest.batch import Batch, code_of

MOST_AT_ONCE = 4096  # events of a pass
ROOM = 16  # one in so many clients leaves at once; with fewer, making room would cost more than the queries
SMALLEST = 256  # rows at the beginning
LARGER = 8  # factor by which the rows grow: unused rows cost no memory, and copying the used ones is slow


class TableProgress(NamedTuple):
    """The state of a client table itself, to be saved beside that of its clients.

    `since_lesson` counts the queries since the last lesson. Clients whose latest query is at the stream position `parked_until`
    or before it have left. `population` (4,) are the figures that `conduct` compares clients with.
    """

    since_lesson: int
    parked_until: int
    population: tuple[float, ...]


class ClientTable:
    """The clients of one model. At most `max_clients` are held in memory; `parked` keeps suspects beyond that.

    `secret` is the operator's seed. It keys the random numbers of each client, so that nobody else can compute them or choose
    ids that collide. `key` names the table's state: a model has one table for each length of its inputs. The table keeps
    `retained` queries and `window` distances of each client. With `links`, its outputs hold sketches of the fresh queries.
    `meters` reads the odometer, None where it is not read. With `evaluations_alone` the observer does not get passes without a
    scheduled evaluation.
    """

    def __init__(
        self,
        model: str,
        reference: Reference,
        novelty: Novelty,
        judge: Judge,
        *,
        max_clients: int,
        lateness_ms: int,
        observer: Observer | None = None,
        evaluations_alone: bool = False,
        retained: int | None = None,
        window: int = WINDOW,
        secret: int = 0,
        key: str | None = None,
        parked: Parked | None = None,
        links: bool = False,
        meters: Meters | None = None,
    ) -> None:
        self.model = model
        self.key = key or model
        self.reference = reference
        self.novelty = novelty
        self.judge = judge
        self.kinds = Kinds()
        self.max_clients = max_clients
        self._links = links
        self._observer = observer
        self._observes_all = not evaluations_alone
        sizes: dict[str, Any] = {"window": window, "table": reference.table, "summed": reference.summed}
        sizes |= {} if retained is None else {"retained": retained}
        capacity = min(SMALLEST, max_clients)
        self.columns = Columns(capacity, **sizes)
        self._slots = Slots(self.key, secret, capacity)
        self._examples = Examples()
        self.meters = meters
        self._readings: dict[int, Reading] = {}  # by event, of one pass
        self._walk = Walk(judge, novelty, self._examples, self._read)
        self._ledger = Ledger()
        self._codec = ClientCodec(self.key, reference, sizes, self.columns, self._slots, self._examples, self._ledger)
        rules = Rules(RING if retained is None else retained, secret, lateness_ms, meters is not None)
        self._kernels = Kernels(reference, self.columns, self._slots, self._ledger, rules)
        self._parked = parked if parked is not None else InMemory()
        self._parked_until = -1  # clients with their latest query here or before are not held
        self._unsaved: dict[str, bool] = {}  # clients parked with changes since the last snapshot: does it have them?
        self.judge.bind(self)

    def __len__(self) -> int:
        """Return the number of clients held."""
        return len(self._slots)

    def name(self, slot: int) -> str:
        """Return the key of the account at a slot."""
        return self._slots.name(slot)

    def account(self, slot: int) -> Account:
        """Return the account at a slot."""
        return account_of(self.name(slot))

    def examples(self, slot: int, place: int) -> tuple[str, ...]:
        """Return ids of the latest events with evidence at a place of `state.PLACES`."""
        return tuple(self._examples.of(slot).get(place, ()))

    @property
    def metered(self) -> bool:
        """Whether the odometer measures the model."""
        return self.meters is not None

    def reading(self, slot: int) -> Reading | None:
        """Return the highest reading of the odometer, None where there is none."""
        return None if self.meters is None else self.meters.reading(self.columns.metered, slot)

    def holders(self, leads: Sequence[float]) -> list[int]:
        """Return how many of the clients in memory hold at least each of these leads."""
        if self.meters is None:
            return [0] * len(leads)
        return self.meters.holders(self.columns.metered, self._slots.kept, leads)

    def _read(self, event: int, slot: int, queries: int, kept: Kept, row: int) -> None:
        """Read the odometer of the client at `slot`, which had asked so many queries at row `row` of what was kept."""
        assert self.meters is not None  # noqa: S101  # nothing is due otherwise
        metered = self.columns.metered
        before = int(metered.read_turn[slot])
        self.meters.read(metered, slot, queries, kept, row)
        if metered.read_turn[slot] != before:  # another version of the model: its budget is not used up
            self.columns.standing.reached[slot, HARM] = 0
        if (reading := self.meters.reading(metered, slot)) is not None:
            self._readings[event] = reading

    def process(self, batch: Batch, emitted: int | None = None, outputs: Outputs | None = None) -> Outputs:
        """Process a batch of this model's events, in stream order, and return the outputs, added to `outputs` if given.

        `emitted` overrides their place in the output order.
        """
        outputs = Outputs() if outputs is None else outputs
        batch = self._complete(batch, outputs)
        accounts = accounts_of(batch.client, batch.sender, self.judge.vouched)
        start = 0
        while start < len(batch):
            stop, slots = self._seat(batch, accounts, start, emitted, outputs)
            whole = stop - start == len(batch)
            part = batch if whole else batch.take(np.arange(start, stop))
            self._pass(part, accounts if whole else accounts[start:stop], slots, emitted, outputs)
            start = stop
        return outputs

    def _complete(self, batch: Batch, outputs: Outputs) -> Batch:
        """Replace missing values by the reference's number for them; where no value can be missing, refuse the query."""
        if not batch.vector.size or not math.isnan(batch.vector.max()):  # NaN is larger than anything
            return batch
        missing = np.isnan(batch.vector)
        if self.reference.table:
            return replace(batch, vector=self.reference.complete(batch.vector))
        rows = np.asarray(missing.any(axis=1))
        detail = f"input: a value is missing, and model {self.model!r} takes pictures or embeddings, where none can be"
        outputs.refusals += [
            EngineRefusal(int(batch.sequence[i]), "not_finite", detail, batch.client[i], self.model)
            for i in np.flatnonzero(rows).tolist()
        ]
        return batch.refuse(rows, code_of("not_finite"), self._kernels.contents(batch))

    def _seat(
        self, batch: Batch, accounts: Sequence[str], start: int, emitted: int | None, outputs: Outputs
    ) -> tuple[int, npt.NDArray[np.int64]]:
        """Give the accounts from `start` on their slots, up to the first event for which a client must leave."""
        stop = min(start + MOST_AT_ONCE, len(batch))
        clients = accounts[start:stop]
        slots = list(map(self._slots.of.get, clients))
        if None not in slots:
            return stop, np.array(slots, np.int64)
        missing = self._slots.missing(clients)
        if len(self._slots) >= self.max_clients:
            first = next(iter(missing.values()))
            if first > 0:
                return start + first, self._slots.places(clients[:first])
            self._make_room(int(batch.sequence[start]) if emitted is None else emitted, outputs)
            missing = self._slots.missing(clients)  # clients that left may return in this batch
        room = self.max_clients - len(self._slots)
        if len(missing) > room:
            names = list(missing)
            clients = clients[: missing[names[room]]]
            missing = {name: missing[name] for name in names[:room]}
        self._admit(missing, batch.sequence[start:stop])
        return start + len(clients), self._slots.places(clients)

    def _admit(self, missing: dict[str, int], sequence: npt.NDArray[np.int64]) -> None:
        """Admit new clients, and parked ones that return, each with its place in `sequence`."""
        parked = self._parked
        back = [data for client in missing if (data := parked.take(self.key, client)) is not None] if len(parked) else []
        slots = self._admit_clients(list(missing))
        for at in range(0, len(back), ROWS_AT_ONCE):
            self._restore([self._codec.load(data) for data in back[at : at + ROWS_AT_ONCE]])
        # A repeat does not advance this time, but a client that is held must have asked after those that are not.
        self.columns.admission.last_sequence[slots] = sequence[list(missing.values())]

    def _admit_clients(self, clients: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give each new client a slot; add rows where there are too few."""
        wanted = self._slots.rows_for(len(clients))
        capacity = self.columns.capacity
        if wanted > capacity:
            while capacity < wanted:
                capacity *= LARGER
            capacity = min(capacity, max(wanted, self.max_clients))
            self.columns.grow(capacity)
            self._slots.grow(capacity)
        return self._slots.admit(clients)

    def _make_room(self, emitted: int, outputs: Outputs) -> None:
        """Evict the clients that have been silent longest, a `ROOM`-th of the capacity at a time.

        Suspects are parked and continue with their state when they ask again; other clients are forgotten.
        """
        used = np.flatnonzero(self._slots.kept)
        last = self.columns.admission.last_sequence[used]
        count = max(self.max_clients // ROOM, 1) + len(used) - self.max_clients
        oldest = used[np.argsort(last, kind="stable")[:count]]
        self._parked_until = int(self.columns.admission.last_sequence[oldest[-1]])
        suspect = self._has_open_evidence(oldest)
        self._park(oldest[suspect])
        leaving = oldest[~suspect]
        names = [self.name(slot) for slot in leaving.tolist()]
        outputs.departed += reports_of(self.columns, leaving, names, self.model, self.novelty, emitted, self.meters)
        self._slots.forget(leaving)
        for slot in oldest.tolist():
            self._examples.drop(slot)
        self._slots.vacate(oldest.tolist())
        self._ledger.sweep(self.columns.admission.horizon_ms, self._slots.kept)
        self.columns.clear(oldest)

    def _park(self, slots: npt.NDArray[np.int64]) -> None:
        """Move clients to the store of parked clients."""
        if len(slots) == 0:
            return
        for slot, (client, data) in zip(slots.tolist(), self._codec.pack(slots), strict=True):
            self._parked.put(self.key, client, data)
            if self._slots.dirty[slot]:
                self._unsaved[client] = bool(self._slots.saved[slot])

    def _has_open_evidence(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell which clients must not be forgotten: those with open evidence, an alert or a published decision."""
        standing = self.columns.standing
        scores = self.columns.evidence.score[slots].max(axis=2)
        decided: npt.NDArray[np.bool_] = (
            (scores > OPEN).any(axis=1) | (standing.revision[slots] > 0) | (standing.reached[slots].max(axis=1) >= ALERT)
        )
        return decided

    def _pass(
        self, batch: Batch, accounts: Sequence[str], slot: npt.NDArray[np.int64], emitted: int | None, outputs: Outputs
    ) -> None:
        """Process events whose clients are all held, at `slot` (n,); `accounts` are their keys."""
        found = self._kernels.over(batch, slot)
        self._slots.dirty[slot] = True
        newly = self._newly_active(batch, slot, found.admitted) if found.summary.newly else ()
        standing = self.columns.standing
        self._readings = {}
        score = self._walk.over(Stretch(batch, slot, found, emitted, newly), standing, outputs)
        if len(score):
            evaluated = slot[found.evaluated]
            standing.row[evaluated] = found.rows
            standing.novelty[evaluated] = score
            self._note_kinds(found.rows, evaluated, found.admitted.position[found.evaluated])
        self._refuse(batch, found, outputs)
        outputs.readings += len(found.read)
        if self._links and found.summary.fresh:
            rows = None if found.summary.fresh == len(batch) else np.flatnonzero(found.admitted.verdict == FRESH)
            outputs.sketches.append(sketches_of(batch, rows, accounts, found.reduced, found.content))
        if self._observer is not None and (self._observes_all or len(score)):
            self._observer.observed(
                Seen(
                    batch,
                    found.admitted.verdict.copy(),
                    found.admitted.position.copy(),
                    found.ratio.copy(),
                    found.peak.copy(),
                    found.reduced.z.copy(),
                    found.evaluated,
                    found.rows,
                    score,
                    accounts,
                    self._readings,
                )
            )

    def _note_kinds(self, rows: npt.NDArray[np.float64], slot: npt.NDArray[np.int64], queries: npt.NDArray[np.int64]) -> None:
        """Note new kinds of clients at the few evaluations that may teach, unless there was an alert on the client."""
        asked = [
            i for i, count in enumerate(queries.tolist()) if count in LESSONS and self.columns.standing.highest[slot[i]] < ALERT
        ]
        if not asked:
            return
        for i, kind in self.novelty.unfamiliar(rows[asked], queries[asked]).items():
            self.kinds.add(kind, account_of(self.name(int(slot[asked[i]]))).client)

    def _newly_active(self, batch: Batch, slot: npt.NDArray[np.int64], admitted: Admitted) -> list[tuple[int, int]]:
        """Return the events that are their client's first on a day, each with that day, and note the day of each client."""
        latest = self.columns.standing.day
        day = batch.time // DAY_MS
        newly = []
        for i in np.flatnonzero((admitted.verdict == FRESH) & (day > latest[slot])).tolist():
            if day[i] > latest[slot[i]]:
                latest[slot[i]] = day[i]
                newly.append((i, int(day[i])))
        return newly

    def _refuse(self, batch: Batch, found: Computed, outputs: Outputs) -> None:
        outputs.repeated += found.summary.repeated
        if not found.summary.late:
            return
        outputs.refusals += [
            EngineRefusal(
                int(batch.sequence[i]),
                "late",
                f"client {batch.client[i]!r} is already past this event time by more than the allowed lateness, "
                "or by more queries than are remembered; it may be a repeat",
                batch.client[i],
                self.model,
            )
            for i in np.flatnonzero(found.admitted.verdict == LATE).tolist()
        ]

    def report(self, slot: int, emitted: int = -1) -> Report:
        """Return the report of the client at `slot`."""
        (report,) = reports_of(
            self.columns, np.array([slot]), [self.name(slot)], self.model, self.novelty, emitted, self.meters
        )
        return report

    def reports(self) -> Iterator[Report]:
        """Yield the report of every client, parked ones included, by name."""
        names = sorted([*self._slots.of, *self._parked.clients(self.key)])
        for at in range(0, len(names), ROWS_AT_ONCE):
            some = names[at : at + ROWS_AT_ONCE]
            away = [client for client in some if client not in self._slots]
            columns = self._codec.apart([self._codec.load(self._parked.read(self.key, client)) for client in away])
            held = [client for client in some if client in self._slots]
            found: dict[str, Report] = {}
            slots = np.array([self._slots.of[client] for client in held], np.int64)
            for some_columns, places, clients in ((columns, np.arange(len(away)), away), (self.columns, slots, held)):
                reports = reports_of(some_columns, places, clients, self.model, self.novelty, meters=self.meters)
                found |= zip(clients, reports, strict=True)
            for client in some:
                yield found[client]

    def snapshots(self, *, changed_only: bool) -> Iterator[tuple[str, bytes]]:
        """Yield (client, snapshot) of all clients, or of those changed since the last call; forgotten ones have empty bytes."""
        if changed_only:
            yield from ((client, b"") for client in sorted(self._slots.forgotten))
        yield from self._codec.pack(np.flatnonzero(self._slots.dirty if changed_only else self._slots.kept))
        for client in sorted(self._unsaved if changed_only else self._parked.clients(self.key)):
            yield client, self._parked.read(self.key, client)
        self._unsaved.clear()
        self._slots.note_snapshot()

    def restore(self, saved: Sequence[bytes]) -> None:
        """Restore clients from their snapshots, one per client, replacing the state that is held of them.

        Clients that were parked at the time of the snapshot are parked again. Raises `SnapshotError` when a snapshot does not
        belong to this table.
        """
        for at in range(0, len(saved), ROWS_AT_ONCE):
            some = saved[at : at + ROWS_AT_ONCE]
            snapshots = [self._codec.load(data) for data in some]
            last = self._codec.apart(snapshots).admission.last_sequence
            held = [last[i] > self._parked_until or snapshot.client in self._slots for i, snapshot in enumerate(snapshots)]
            present = [snapshot for snapshot, here in zip(snapshots, held, strict=True) if here]
            self._admit_clients([snapshot.client for snapshot in present if snapshot.client not in self._slots])
            self._restore(present)
            for snapshot, data, here in zip(snapshots, some, held, strict=True):
                if not here:
                    self._parked.put(self.key, snapshot.client, data)

    def _restore(self, snapshots: Sequence[ClientSnapshot]) -> None:
        """Restore clients that have a slot from their snapshots."""
        slots = self._slots.places([snapshot.client for snapshot in snapshots])
        for slot, snapshot in zip(slots.tolist(), snapshots, strict=True):
            # Clients parked without a change since then, or restored from outside, are as in the last snapshot.
            known = self._unsaved.pop(snapshot.client, None)
            self._slots.dirty[slot], self._slots.saved[slot] = known is not None, known in {None, True}
        self._codec.unpack(slots, snapshots)

    @property
    def progress(self) -> TableProgress:
        """The state of the table itself, to be saved."""
        return TableProgress(self._walk.since_lesson, self._parked_until, tuple(self._kernels.population.tolist()))

    @progress.setter
    def progress(self, saved: TableProgress) -> None:
        self._walk.since_lesson, self._parked_until = saved.since_lesson, saved.parked_until
        self._kernels.population[:] = saved.population
