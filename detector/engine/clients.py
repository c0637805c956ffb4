"""A cohort: the clients of one model inside a shard, and what a batch of their queries does to them.

A batch runs through compiled kernels, one family of features after the other, each in stream order: admission, memory (with
the channels of construction), rate, coverage, outputs, what occurs together, accumulation. What remains for Python is rare: new
clients, queries that carry evidence, and looks.

Nothing here depends on where a batch was cut. Where order matters across families (a look that teaches the trees, a client
that must make room) the batch is walked, or split, at exactly that event.
"""

import math
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.contracts.dead_letter import REASONS
from detector.engine.account import MARK, Account, account_key, account_of
from detector.engine.evidence.accumulate import CHANNELS, OPEN, accumulate, counts
from detector.engine.evidence.cooccur import update_together
from detector.engine.evidence.registry import COOCCUR
from detector.engine.features.coverage import LABELS, place_labels, update_coverage
from detector.engine.features.distances import WINDOW
from detector.engine.features.normality import shapiro_coefficients
from detector.engine.features.outputs import update_outputs
from detector.engine.features.rate import update_rate
from detector.engine.features.row import COVERAGE, MEMORY, NAMES, OUTPUTS, RATE
from detector.engine.findings import Outputs, Refusal, Report
from detector.engine.judge import Judge, Moment, Odd
from detector.engine.memory.admission import (
    FRESH,
    LATE,
    REFUSED,
    REPEATED,
    Admitted,
    Arrivals,
    Contents,
    Ledger,
    admit,
    look_after,
    unadmitted,
)
from detector.engine.memory.checksums import weights_of
from detector.engine.memory.conduct import QUESTIONS, nobody, update_conduct
from detector.engine.memory.observe import observe
from detector.engine.memory.reservoir import RING
from detector.engine.models.novelty import LESSONS, Novelty
from detector.engine.models.reference import C_HIGHEST, C_LOWEST, C_UNIT, Reference
from detector.engine.observer import Observer, Seen
from detector.engine.parking import InMemory, Parked
from detector.engine.policy import ALERT
from detector.engine.state import ID_BYTES, NOVELTY, PLACES, SNAPSHOT_VERSION, ClientSnapshot, Columns, dump, load
from detector.errors import SnapshotError
from detector.ingest.batch import Batch, code_of

MOST_AT_ONCE = 4096
ROWS_AT_ONCE = 4096  # packed or unpacked together
ROOM = 16  # one in so many clients leaves at once, or making room would cost more than the queries
EXAMPLES = 5
LESSON_EVERY = 32  # queries of the cohort between two lessons of the online trees
SMALLEST = 256
LARGER = 8  # times the rows, when there are too few: untouched rows cost nothing, and to copy the others costs much
FIRST_LOOK = int(look_after(0))
NOTHING_SHOWN = dict.fromkeys((*CHANNELS, "novelty"), 0.0)


class Progress(NamedTuple):
    """What of a cohort itself has to be saved: queries since the last lesson, and up to where in the stream all have left.

    `population` (4,) is what `conduct` compares clients with.
    """

    since_lesson: int
    parked_until: int
    population: tuple[float, ...]


class Cohort:
    """The clients of one model, of which at most `max_clients` are held in memory; `parked` keeps suspects beyond that.

    `secret` is the operator's seed. It keys what is drawn for each client, so that nobody else can tell it, or choose ids that
    collide. `key` names the cohort's state: a model has a cohort for each length of its inputs.
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
        anchors: int | None = None,
        window: int = WINDOW,
        secret: int = 0,
        key: str | None = None,
        parked: Parked | None = None,
    ) -> None:
        self.model = model
        self.key = key or model
        self.reference = reference
        self._middle = reference.middle
        _, self._keys = weights_of(reference.dimension if reference.summed else 0)
        self.novelty = novelty
        self.max_clients = max_clients
        self.judge = judge
        self._lateness_ms = lateness_ms
        self._observer = observer
        capacity = min(SMALLEST, max_clients)
        self._sizes: dict[str, Any] = {"window": window, "table": reference.table, "summed": reference.summed}
        self._sizes |= {} if anchors is None else {"anchors": anchors}
        self.columns = Columns(capacity, **self._sizes)
        self._ring = RING if anchors is None else anchors
        self._slots: dict[str, int] = {}
        self._names: list[str | None] = []
        self._free: list[int] = []
        self._seed = np.zeros(capacity, np.uint64)
        self._dirty = np.zeros(capacity, bool)
        self._saved = np.zeros(capacity, bool)  # whether the last snapshot has the client
        self._forgotten: set[str] = set()  # since the last snapshot, of those that it has
        self._unsaved: dict[str, bool] = {}  # parked with changes since the last snapshot, and whether that has the client
        self._key = secret.to_bytes(8, "little")
        self._parked = parked if parked is not None else InMemory()
        self._parked_until = -1  # who asked last at this place of the stream, or before it, is not held
        self._kept = np.zeros(capacity, bool)
        self._ledger = Ledger()
        self._contents = Contents(secret, reference.dimension)
        self._population = nobody()
        self._examples: dict[int, dict[int, deque[str]]] = {}
        self._since_lesson = 0
        self._coefficients = np.zeros((window + 1, window // 2))
        for n in range(3, window + 1):
            self._coefficients[n, : n // 2] = shapiro_coefficients(n)
        self.judge.bind(self)

    def __len__(self) -> int:
        """Return the number of clients held."""
        return len(self._slots)

    def name(self, slot: int) -> str:
        """Return the key of the account at a slot."""
        name = self._names[slot]
        assert name is not None  # noqa: S101  # slots in use always have a name
        return name

    def account(self, slot: int) -> Account:
        """Return the account at a slot."""
        return account_of(self.name(slot))

    def examples(self, slot: int, channel: int) -> tuple[str, ...]:
        """Return ids of the latest events that carried evidence in a channel."""
        return tuple(self._examples.get(slot, {}).get(channel, ()))

    def process(self, batch: Batch, emitted: int | None = None) -> Outputs:
        """Take a batch of this model's events, in stream order; `emitted` overrides their place in the output order."""
        outputs = Outputs()
        batch = self._complete(batch, outputs)
        accounts = self._accounts(batch)
        start = 0
        while start < len(batch):
            stop, slots = self._seat(batch, accounts, start, emitted, outputs)
            part = batch if stop - start == len(batch) else batch.take(np.arange(start, stop))
            self._pass(part, slots, emitted, outputs)
            start = stop
        return outputs

    def contents(self, batch: Batch) -> npt.NDArray[np.uint64]:
        """Return the hash (n,) by which a repeat of each event is known: of input and answer, or of a refused record."""
        contents = self._contents.of(batch.vector, batch.label, batch.confidence, batch.runner_up)
        return np.where(batch.refused > 0, batch.digest, contents)

    def _complete(self, batch: Batch, outputs: Outputs) -> Batch:
        """Give missing values a value of their own; where no value can be missing, refuse the query."""
        with np.errstate(invalid="ignore", over="ignore"):
            if not np.isnan(batch.vector.sum()):
                return batch
        missing = np.isnan(batch.vector)
        if self.reference.table:
            return replace(batch, vector=np.where(missing, self.reference.missing, batch.vector))
        rows = np.asarray(missing.any(axis=1))
        detail = f"input: a value is missing, and model {self.model!r} takes pictures or embeddings, where none can be"
        outputs.refusals += [
            Refusal(int(batch.sequence[i]), "not_finite", detail, batch.client[i], self.model)
            for i in np.flatnonzero(rows).tolist()
        ]
        return batch.refuse(rows, code_of("not_finite"), self.contents(batch))

    def _accounts(self, batch: Batch) -> Sequence[str]:
        """Return the key of the account of each event."""
        senders = {id(sender): sender for sender in batch.sender}
        forgeable = {number for number, sender in senders.items() if not self.judge.vouched(sender)}
        marked = any(client.startswith(MARK) for client in batch.client)
        if not forgeable and not marked:
            return batch.client
        return [
            account_key(client, sender, vouched=id(sender) not in forgeable)
            for client, sender in zip(batch.client, batch.sender, strict=True)
        ]

    def _seat(
        self, batch: Batch, accounts: Sequence[str], start: int, emitted: int | None, outputs: Outputs
    ) -> tuple[int, npt.NDArray[np.int64]]:
        """Give every account from `start` on its slot, as far as that needs nobody to leave in between."""
        stop = min(start + MOST_AT_ONCE, len(batch))
        clients = accounts[start:stop]
        slots = list(map(self._slots.get, clients))
        if None not in slots:
            return stop, np.array(slots, np.int64)
        missing = self._missing(clients)
        if len(self._slots) >= self.max_clients:
            first = next(iter(missing.values()))
            if first > 0:
                return start + first, self._slots_of(clients[:first])
            self._make_room(int(batch.sequence[start]) if emitted is None else emitted, outputs)
            missing = self._missing(clients)  # who left may be back in this batch
        room = self.max_clients - len(self._slots)
        if len(missing) > room:
            names = list(missing)
            clients = clients[: missing[names[room]]]
            missing = {name: missing[name] for name in names[:room]}
        self._admit(missing, batch.sequence[start:stop])
        return start + len(clients), self._slots_of(clients)

    def _missing(self, clients: Sequence[str]) -> dict[str, int]:
        """Return the clients that are not held, and where each comes first, in that order."""
        missing: dict[str, int] = {}
        held = self._slots
        for i, client in enumerate(clients):
            if client not in held and client not in missing:
                missing[client] = i
        return missing

    def _slots_of(self, clients: Sequence[str]) -> npt.NDArray[np.int64]:
        return np.fromiter(map(self._slots.__getitem__, clients), np.int64, len(clients))

    def _admit(self, missing: dict[str, int], sequence: npt.NDArray[np.int64]) -> None:
        """Take in clients that are new, and parked ones that are back, each with its place in `sequence`."""
        parked = self._parked
        back = [data for client in missing if (data := parked.take(self.key, client)) is not None] if len(parked) else []
        slots = self._admit_clients(list(missing))
        for at in range(0, len(back), ROWS_AT_ONCE):
            self._restore([self._load(data) for data in back[at : at + ROWS_AT_ONCE]])
        # A repeat does not move this on, but who is held must have asked after those who are not.
        self.columns.admission.last_sequence[slots] = sequence[list(missing.values())]

    def _admit_clients(self, clients: Sequence[str]) -> npt.NDArray[np.int64]:
        """Give clients that are not held a slot each; what is drawn for a client follows from its name and the secret."""
        fresh = max(len(clients) - len(self._free), 0)
        new = list(range(len(self._names), len(self._names) + fresh))
        if fresh and new[-1] >= self.columns.capacity:
            self._grow(new[-1] + 1)
        self._names += [None] * fresh
        slots = new + [self._free.pop() for _ in range(len(clients) - fresh)]
        prefix = f"{self.key}\0"
        codes = [blake2b((prefix + client).encode(), digest_size=8, key=self._key).digest() for client in clients]
        for client, slot in zip(clients, slots, strict=True):
            self._slots[client] = slot
            self._names[slot] = client
        chosen = np.array(slots, np.int64)
        self._seed[chosen] = np.frombuffer(b"".join(codes), "<u8")
        self._kept[chosen] = True
        for client in self._forgotten.intersection(clients):
            self._forgotten.discard(client)
            self._saved[self._slots[client]] = True
        return chosen

    def _grow(self, wanted: int) -> None:
        before = self.columns.capacity
        capacity = before
        while capacity < wanted:
            capacity *= LARGER
        capacity = min(capacity, max(wanted, self.max_clients))
        self.columns.grow(capacity)
        for name in ("_seed", "_dirty", "_saved", "_kept"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros(capacity - before, array.dtype)]))

    def _make_room(self, emitted: int, outputs: Outputs) -> None:
        """Let the clients leave that have been silent longest, one in `ROOM` of the capacity at a time.

        Suspects are parked, and go on where they were when they ask again; the others are forgotten.
        """
        used = np.flatnonzero(self._kept)
        last = self.columns.admission.last_sequence[used]
        count = max(self.max_clients // ROOM, 1) + len(used) - self.max_clients
        oldest = used[np.argsort(last, kind="stable")[:count]]
        self._parked_until = int(self.columns.admission.last_sequence[oldest[-1]])
        suspect = self._has_open_evidence(oldest)
        self._park(oldest[suspect])
        leaving = oldest[~suspect]
        names = [self.name(slot) for slot in leaving.tolist()]
        outputs.departed += self._reports(self.columns, leaving, names, emitted)
        self._forgotten.update(name for name, saved in zip(names, self._saved[leaving].tolist(), strict=True) if saved)
        for slot in oldest.tolist():
            self._vacate(slot)
        self._ledger.sweep(self.columns.admission, self._kept)
        self.columns.clear(oldest)

    def _park(self, slots: npt.NDArray[np.int64]) -> None:
        """Hand clients over to the store."""
        if len(slots) == 0:
            return
        for slot, (client, data) in zip(slots.tolist(), self._packed(slots), strict=True):
            self._parked.put(self.key, client, data)
            if self._dirty[slot]:
                self._unsaved[client] = bool(self._saved[slot])

    def _vacate(self, slot: int) -> None:
        del self._slots[self.name(slot)]
        self._names[slot] = None
        self._examples.pop(slot, None)
        self._dirty[slot] = self._saved[slot] = self._kept[slot] = False
        self._free.append(slot)

    def _has_open_evidence(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Tell which clients must not be forgotten: any evidence still standing, or a decision ever published."""
        standing = self.columns.standing
        scores = self.columns.evidence.score[slots].max(axis=2)
        decided: npt.NDArray[np.bool_] = (
            (scores > OPEN).any(axis=1) | (standing.revision[slots] > 0) | (standing.reached[slots].max(axis=1) >= ALERT)
        )
        return decided

    def _pass(self, batch: Batch, slot: npt.NDArray[np.int64], emitted: int | None, outputs: Outputs) -> None:
        n = len(batch)
        columns = self.columns
        admitted = unadmitted(n)
        keys = self._ledger.keys(batch.event_id, self._seed[slot])
        self._ledger.reserve(n, columns.admission, self._kept)
        arrivals = Arrivals(slot, batch.time, keys, self.contents(batch), batch.refused, batch.sequence)
        self._ledger.entered(admit(columns.admission, self._ledger.entries, arrivals, self._lateness_ms, admitted))
        verdict, position, look, _ = admitted
        conduct = np.zeros((n, len(QUESTIONS), 4))
        update_conduct(columns.conduct, self._population, slot, admitted, batch.refused, conduct)

        look_event = np.flatnonzero(look)
        look_row = np.full(n, -1, np.int64)
        look_row[look_event] = np.arange(len(look_event))
        rows = np.full((len(look_event), len(NAMES)), np.nan)
        place = np.zeros(n, np.int64)
        repeat, near, flip = np.zeros((3, n), np.bool_)
        distance = np.empty(n, np.float32)
        ratio = np.ones((n, len(CHANNELS)), np.float32)
        peak = np.zeros((n, len(CHANNELS)), np.float32)
        reference = self.reference
        reduced = reference.reduce(batch.vector)

        place_labels(columns.coverage, slot, batch.label, verdict, place)
        observe(
            columns.memory,
            slot,
            self._seed,
            reduced.z,
            reduced.c,
            batch.label,
            batch.confidence,
            batch.runner_up,
            place,
            verdict,
            reference.unit,
            reference.quantum,
            C_UNIT,
            C_LOWEST,
            C_HIGHEST,
            reference.measured,
            reference.dimension,
            reference.grain,
            reference.tolerance,
            reference.c_variance,
            reference.usual_structure,
            reference.structure_spread,
            reference.variance,
            reference.table,
            reference.numbers,
            reference.level,
            self._ring,
            self._coefficients,
            columns.selection,
            columns.checksums,
            reduced.sums,
            self._keys,
            reduced.energy,
            reference.kinship,
            self._middle,
            reference.neighbour,
            repeat,
            near,
            flip,
            distance,
            ratio,
            look_row,
            rows,
            MEMORY,
        )
        update_rate(
            columns.rate,
            slot,
            batch.time,
            batch.weight,
            verdict,
            position,
            columns.admission.first_ms,
            look_row,
            rows,
            RATE,
        )
        update_coverage(
            columns.coverage,
            slot,
            batch.label,
            place,
            reduced.cell,
            reduced.off,
            reduced.landmark,
            verdict,
            repeat,
            reference.known_cells,
            reference.known_count,
            min(reference.labels, LABELS),
            look_row,
            rows,
            COVERAGE,
        )
        update_outputs(
            columns.outputs,
            slot,
            batch.confidence,
            batch.runner_up,
            near,
            flip,
            verdict,
            repeat,
            look_row,
            rows,
            OUTPUTS,
        )
        together = reference.cooccurrence
        if not together.silent:
            update_together(
                columns.together,
                slot,
                batch.vector,
                verdict,
                repeat,
                together.columns,
                together.coded,
                together.edges,
                together.share,
                together.pairs,
                together.table,
                together.worth,
                together.edited,
                together.mixes,
                together.usual,
                ratio[:, COOCCUR],
            )
        accumulate(columns.evidence, slot, ratio, verdict, repeat, peak)
        self._dirty[slot] = True

        # A row is kept in 32 bits; what is judged now must be what a later event would read.
        rows = rows.astype(np.float32).astype(np.float64)
        score = self._walk(batch, slot, admitted, conduct, ratio, peak, look_event, rows, emitted, outputs)
        at_looks = slot[look_event]
        columns.standing.row[at_looks] = rows
        columns.standing.novelty[at_looks] = score
        self._refuse(batch, verdict, outputs)
        if self._observer is not None:
            accounts = [self.name(s) for s in slot.tolist()]
            self._observer.observed(Seen(batch, verdict, position, ratio, peak, reduced.z, look_event, rows, score, accounts))

    def _walk(  # the one loop in Python: queries with evidence, and looks
        self,
        batch: Batch,
        slot: npt.NDArray[np.int64],
        admitted: Admitted,
        conduct: npt.NDArray[np.float64],
        ratio: npt.NDArray[np.float32],
        peak: npt.NDArray[np.float32],
        look_event: npt.NDArray[np.intp],
        rows: npt.NDArray[np.float64],
        emitted: int | None,
        outputs: Outputs,
    ) -> npt.NDArray[np.float64]:
        """Judge in stream order, and teach the trees; return the novelty score of each look."""
        position = admitted.position
        fresh_before = self._since_lesson + np.cumsum(admitted.verdict == FRESH)
        taught_at = 0
        queries = position[look_event]
        score = self.novelty.score(rows, queries)
        constructed = counts(ratio, peak)
        carried = np.flatnonzero(constructed.any(axis=1))
        odd = np.flatnonzero(conduct[:, :, 0].any(axis=1))
        if len(carried) == 0 and len(look_event) == 0 and len(odd) == 0:
            self._since_lesson = int(fresh_before[-1])
            return score
        standing = self.columns.standing
        row_of = {int(event): r for r, event in enumerate(look_event)}
        last_row: dict[int, int] = {}
        out_of_line = set(odd.tolist())
        for i in sorted({*carried.tolist(), *look_event.tolist(), *out_of_line}):
            s = int(slot[i])
            channels = np.flatnonzero(constructed[i]).tolist()
            for channel in channels:
                self._example(s, channel, batch.event_id[i])
            r = row_of.get(i)
            if r is not None:
                last_row[s] = r
            asked = int(position[i])
            odds = self._odds(admitted, conduct, i, s, batch) if i in out_of_line else ()
            if channels or odds or r is None or not self.judge.passes(s, float(score[r])):
                seen = last_row.get(s)
                moment = Moment(
                    batch=batch,
                    event=i,
                    slot=s,
                    queries=asked,
                    peak=peak[i],
                    channels=channels,
                    score=float(score[r]) if r is not None else None,
                    odds=odds,
                    row=rows[seen] if seen is not None else standing.row[s].astype(np.float64),
                    emitted=int(batch.sequence[i]) if emitted is None else emitted,
                )
                self.judge.judge(moment, outputs)
            if r is None or asked not in LESSONS:
                continue
            innocent = not standing.reached[s].any() and not standing.revision[s] and bool((peak[i] <= OPEN).all())
            if innocent and int(fresh_before[i]) - taught_at >= LESSON_EVERY:
                taught_at = int(fresh_before[i])
                if self.novelty.trees.learn(rows[r]):
                    score[r + 1 :] = self.novelty.score(rows[r + 1 :], queries[r + 1 :])
        self._since_lesson = int(fresh_before[-1]) - taught_at
        return score

    def _odds(
        self, admitted: Admitted, conduct: npt.NDArray[np.float64], event: int, slot: int, batch: Batch
    ) -> tuple[Odd, ...]:
        """Return in what a client's conduct is out of line at an event where it is evaluated."""
        of_event = (admitted.verdict[event] == REFUSED, bool(admitted.reused[event]))
        odds = []
        for question in np.flatnonzero(conduct[event, :, 0]).tolist():
            if of_event[question]:
                self._example(slot, NOVELTY + 1 + question, batch.event_id[event])
            evidence, hits, records, usual = conduct[event, question].tolist()
            odds.append(Odd(question, evidence, int(hits), int(records), usual))
        return tuple(odds)

    def _example(self, slot: int, place: int, event_id: str) -> None:
        self._examples.setdefault(slot, {}).setdefault(place, deque(maxlen=EXAMPLES)).append(event_id)

    def _refuse(self, batch: Batch, verdict: npt.NDArray[np.uint8], outputs: Outputs) -> None:
        outputs.repeated += int(np.count_nonzero(verdict == REPEATED))
        outputs.refusals += [
            Refusal(
                int(batch.sequence[i]),
                "late",
                f"client {batch.client[i]!r} is already past this event time by more than the allowed lateness, "
                "or by more queries than are remembered; it may be a repeat",
                batch.client[i],
                self.model,
            )
            for i in np.flatnonzero(verdict == LATE).tolist()
        ]

    def report(self, slot: int, emitted: int = -1) -> Report:
        """Return the client at `slot` as it stands."""
        return self._report(self.columns, slot, self.name(slot), emitted)

    def _report(self, columns: Columns, slot: int, client: str, emitted: int = -1) -> Report:
        (report,) = self._reports(columns, np.array([slot]), [client], emitted)
        return report

    def _reports(
        self, columns: Columns, slots: npt.NDArray[np.int64], clients: Sequence[str], emitted: int
    ) -> Iterator[Report]:
        """Yield the clients at rows of `columns`; nearly all of those who leave in a flood have shown nothing yet."""
        standing, conduct = columns.standing, columns.conduct
        peaks = columns.evidence.peak[slots]
        shown = peaks.any(axis=1) | (standing.novelty[slots] != 0)
        odd = conduct.refused[slots].any(axis=1)
        figures = (columns.admission.queries[slots], standing.highest[slots], conduct.reused[slots], shown, odd)
        for i, (queries, highest, reused, evidence, refused) in enumerate(zip(*(f.tolist() for f in figures), strict=True)):
            account = account_of(clients[i])
            row = standing.row[slots[i]].tolist() if queries >= FIRST_LOOK else []
            yield Report(
                client=account.client,
                address=account.address,
                model=self.model,
                queries=queries,
                highest=highest,
                evidence=_evidence(peaks[i], float(standing.novelty[slots[i]])) if evidence else NOTHING_SHOWN,
                features={name: round(value, 4) for name, value in zip(NAMES, row, strict=False) if math.isfinite(value)},
                refused=_refused(conduct.refused[slots[i]]) if refused else {},
                reused=reused,
                emitted=emitted,
            )

    def reports(self) -> Iterator[Report]:
        """Yield every client as it stands, by name; those that are parked, too."""
        names = sorted([*self._slots, *self._parked.clients(self.key)])
        for at in range(0, len(names), ROWS_AT_ONCE):
            some = names[at : at + ROWS_AT_ONCE]
            away = [client for client in some if client not in self._slots]
            columns = self._unpacked([self._load(self._parked.read(self.key, client)) for client in away])
            place = {client: i for i, client in enumerate(away)}
            for client in some:
                if client in place:
                    yield self._report(columns, place[client], client)
                else:
                    yield self.report(self._slots[client])

    def snapshots(self, *, changed_only: bool) -> Iterator[tuple[str, bytes]]:
        """Yield (client, snapshot), of all clients or of those that changed since the last call; empty for a forgotten one."""
        if changed_only:
            yield from ((client, b"") for client in sorted(self._forgotten))
        self._forgotten.clear()
        yield from self._packed(np.flatnonzero(self._dirty if changed_only else self._kept))
        for client in sorted(self._unsaved if changed_only else self._parked.clients(self.key)):
            yield client, self._parked.read(self.key, client)
        self._unsaved.clear()
        self._dirty[:] = False
        self._saved[:] = self._kept

    def _packed(self, slots: npt.NDArray[np.int64]) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the snapshot of each of these clients."""
        wanted = np.zeros(len(self._kept), bool)
        wanted[slots] = True
        entered = self._ledger.of(self.columns.admission, wanted)
        fingerprint = self.reference.fingerprint
        for at in range(0, len(slots), ROWS_AT_ONCE):
            some = slots[at : at + ROWS_AT_ONCE]
            for slot, row in zip(some.tolist(), self.columns.pack(some), strict=True):
                examples = {PLACES[j]: list(ids) for j, ids in self._examples.get(slot, {}).items()}
                yield (
                    self.name(slot),
                    dump(
                        ClientSnapshot(
                            SNAPSHOT_VERSION,
                            self.columns.layout,
                            fingerprint,
                            self.key,
                            self.name(slot),
                            row,
                            np.array(entered.get(slot, ()), np.uint64).tobytes(),
                            zlib.crc32(row),
                            examples,
                        )
                    ),
                )

    def restore(self, saved: Sequence[bytes]) -> None:
        """Take in clients from their snapshots, of which each client has one, replacing what is held of them.

        Who was parked when they were taken is parked again. Raises `SnapshotError` when a snapshot has another meaning here.
        """
        for at in range(0, len(saved), ROWS_AT_ONCE):
            some = saved[at : at + ROWS_AT_ONCE]
            snapshots = [self._load(data) for data in some]
            last = self._unpacked(snapshots).admission.last_sequence
            held = [last[i] > self._parked_until or snapshot.client in self._slots for i, snapshot in enumerate(snapshots)]
            present = [snapshot for snapshot, here in zip(snapshots, held, strict=True) if here]
            self._admit_clients([snapshot.client for snapshot in present if snapshot.client not in self._slots])
            self._restore(present)
            for snapshot, data, here in zip(snapshots, some, held, strict=True):
                if not here:
                    self._parked.put(self.key, snapshot.client, data)

    def _load(self, data: bytes) -> ClientSnapshot:
        snapshot = load(data, self.columns.layout, self.reference.fingerprint)
        if snapshot.model != self.key:
            raise SnapshotError(f"the snapshot is of model {snapshot.model!r}, not {self.key!r}")
        return snapshot

    def _unpacked(self, snapshots: Sequence[ClientSnapshot]) -> Columns:
        """Return the rows of snapshots by themselves, in their order."""
        columns = Columns(max(len(snapshots), 1), **self._sizes)
        columns.unpack(np.arange(len(snapshots)), [snapshot.row for snapshot in snapshots])
        return columns

    def _restore(self, snapshots: Sequence[ClientSnapshot]) -> None:
        """Give clients that have a slot what their snapshots hold."""
        slots = self._slots_of([snapshot.client for snapshot in snapshots])
        for slot, snapshot in zip(slots.tolist(), snapshots, strict=True):
            self._examples.pop(slot, None)
            for name, ids in snapshot.examples.items():
                self._examples.setdefault(slot, {})[PLACES.index(name)] = deque(ids, maxlen=EXAMPLES)
            # What was parked without a change since, or comes from outside, is as the last snapshot has it.
            known = self._unsaved.pop(snapshot.client, None)
            self._dirty[slot], self._saved[slot] = known is not None, known in {None, True}
        self.columns.unpack(slots, [snapshot.row for snapshot in snapshots])
        entered = np.frombuffer(b"".join(snapshot.ids for snapshot in snapshots), np.uint64).reshape(-1, 2)
        counts = [len(snapshot.ids) // ID_BYTES for snapshot in snapshots]
        self._ledger.enter(np.repeat(slots, counts), entered, self.columns.admission, self._kept)

    @property
    def progress(self) -> Progress:
        """What of the cohort itself has to be saved."""
        return Progress(self._since_lesson, self._parked_until, tuple(self._population.tolist()))

    @progress.setter
    def progress(self, saved: Progress) -> None:
        self._since_lesson, self._parked_until = saved.since_lesson, saved.parked_until
        self._population[:] = saved.population


def _evidence(peaks: npt.NDArray[np.float32], novelty: float) -> dict[str, float]:
    found = {name: round(peak, 4) for name, peak in zip(CHANNELS, peaks.tolist(), strict=True)}
    return found | {"novelty": round(novelty, 4)}


def _refused(counts: npt.NDArray[np.uint16]) -> dict[str, int]:
    return {reason: count for reason, count in zip(REASONS, counts.tolist(), strict=True) if count}
