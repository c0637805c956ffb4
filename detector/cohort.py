"""A cohort: the clients of one model inside a shard, and what a batch of their queries does to them.

A batch runs through compiled kernels, one family of features after the other, each in stream order: admission, memory (with
the channels of construction), rate, coverage, outputs, what occurs together, accumulation. What remains for Python is rare: new
clients, queries that carry evidence, and looks.

Nothing here depends on where a batch was cut. Where order matters across families (a look that teaches the trees, a client
that must make room) the batch is walked, or split, at exactly that event.
"""

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from detector.account import MARK, Account, account_key, account_of
from detector.contracts.dead_letter import REASONS
from detector.errors import SnapshotError
from detector.evidence.accumulate import CHANNELS, COOCCUR, OPEN, accumulate, counts
from detector.evidence.cooccur import update_together
from detector.features import COVERAGE, MEMORY, NAMES, OUTPUTS, RATE
from detector.features.admission import (
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
from detector.features.anchors import RING
from detector.features.checksums import weights_of
from detector.features.conduct import QUESTIONS, nobody, update_conduct
from detector.features.coverage import LABELS, place_labels, update_coverage
from detector.features.distances import WINDOW
from detector.features.memory import observe
from detector.features.normality import shapiro_coefficients
from detector.features.outputs import update_outputs
from detector.features.rate import update_rate
from detector.findings import Outputs, Refusal, Report
from detector.ingest.batch import Batch, code_of
from detector.judgement import Judge, Moment, Odd
from detector.models.novelty import LESSONS, Novelty
from detector.models.reference import C_HIGHEST, C_LOWEST, C_UNIT, Reference
from detector.policy import ALERT
from detector.state import NOVELTY, PLACES, SNAPSHOT_VERSION, ClientSnapshot, Columns, dump, load

MOST_AT_ONCE = 4096
ROWS_AT_ONCE = 4096  # packed or unpacked together
EXAMPLES = 5
LESSON_EVERY = 32  # queries of the cohort between two lessons of the online trees
SMALLEST = 256


class Progress(NamedTuple):
    """What of a cohort itself has to be saved: queries since the last lesson, the size at which room is made, the population.

    `population` (4,) is what `conduct` compares clients with.
    """

    since_lesson: int
    room_at: int
    population: tuple[float, ...]


class Observer(Protocol):
    """Sees what the engine sees, event by event; for fitting, explaining and pictures."""

    def observed(self, seen: "Seen") -> None:
        """Take one pass over a part of a batch."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """One pass as an observer gets it; n events, of which `look_event` (looks,) were looks.

    `account` are the keys of the accounts (see `detector.account`). `verdict` (n,) is 0 for fresh events; `queries` (n,)
    counts the client's queries; `peak` (n, channels) is the evidence so far; `ratio` (n, channels) the likelihood ratios of
    the event; `rows` (looks, features) and `score` (looks,) belong to the looks.
    """

    batch: Batch
    verdict: npt.NDArray[np.uint8]
    queries: npt.NDArray[np.int64]
    ratio: npt.NDArray[np.float32]
    peak: npt.NDArray[np.float32]
    z: npt.NDArray[np.int16]
    look_event: npt.NDArray[np.intp]
    rows: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]
    account: Sequence[str]


class Cohort:
    """The clients of one model; `max_clients` is how many are kept while none has open evidence.

    `secret` is the operator's seed. `key` names the cohort's state: a model has a cohort for each length of its inputs.
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
        sizes = {} if anchors is None else {"anchors": anchors}
        self.columns = Columns(capacity, window=window, table=reference.table, summed=reference.summed, **sizes)
        self._ring = RING if anchors is None else anchors
        self._slots: dict[str, int] = {}
        self._names: list[str | None] = []
        self._free: list[int] = []
        self._seed = np.zeros(capacity, np.uint64)
        self._dirty = np.zeros(capacity, bool)
        self._forgotten: set[str] = set()  # since the last snapshot
        self._kept = np.zeros(capacity, bool)
        self._ledger = Ledger()
        self._contents = Contents(secret, reference.dimension)
        self._population = nobody()
        self._examples: dict[int, dict[int, deque[str]]] = {}
        self._since_lesson = 0
        self._room_at = max_clients
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
        clients = accounts
        stop = min(start + MOST_AT_ONCE, len(clients))
        find = self._slots.get
        slots = [find(client, -1) for client in clients[start:stop]]
        if -1 not in slots:
            return stop, np.array(slots, np.int64)
        for i in range(len(slots)):
            if slots[i] >= 0:
                continue
            client = clients[start + i]
            known = find(client)
            if known is None:
                if len(self._slots) >= self._room_at:
                    if i > 0:
                        return start + i, np.array(slots[:i], np.int64)
                    self._make_room(int(batch.sequence[start]) if emitted is None else emitted, outputs)
                    slots = [find(client, -1) for client in clients[start:stop]]  # who left may be back in this batch
                known = self._admit_client(client)
            slots[i] = known
        return stop, np.array(slots, np.int64)

    def _admit_client(self, client: str) -> int:
        if self._free:
            slot = self._free.pop()
        else:
            slot = len(self._names)
            self._names.append(None)
            if slot >= self.columns.capacity:
                self.columns.grow(2 * self.columns.capacity)
                self._seed = np.resize(self._seed, self.columns.capacity)
                self._dirty = np.concatenate([self._dirty, np.zeros(self.columns.capacity - slot, bool)])
                self._kept = np.concatenate([self._kept, np.zeros(self.columns.capacity - slot, bool)])
        self._slots[client] = slot
        self._names[slot] = client
        self._forgotten.discard(client)
        code = blake2b(f"{self.key}\0{client}".encode(), digest_size=8).digest()
        self._seed[slot] = int.from_bytes(code, "little")
        self._kept[slot] = True
        return slot

    def _make_room(self, emitted: int, outputs: Outputs) -> None:
        """Forget the clients without open evidence that have been silent longest, one in 64 of the capacity at a time.

        More of them leave where clients whose evidence has faded since are held beyond the capacity.
        """
        used = np.array([slot for slot, name in enumerate(self._names) if name is not None], np.int64)
        closed = used[~self._has_open_evidence(used)]
        share = max(self.max_clients // 64, 1)
        leaving = max(share, len(used) - self.max_clients + 1)
        oldest = closed[np.argsort(self.columns.admission.last_sequence[closed], kind="stable")[:leaving]]
        for slot in oldest.tolist():
            outputs.departed.append(self.report(slot, emitted))
            self._forget(slot)
        # Where nearly all are suspects, few can leave; the search is then made again only after some more have come.
        self._room_at = max(self.max_clients, len(self._slots) + share)
        self._ledger.sweep(self.columns.admission, self._kept)
        self.columns.clear(oldest)

    def _forget(self, slot: int) -> None:
        del self._slots[self.name(slot)]
        self._forgotten.add(self.name(slot))
        self._names[slot] = None
        self._examples.pop(slot, None)
        self._dirty[slot] = False
        self._kept[slot] = False
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
        columns = self.columns
        peaks = {name: round(float(columns.evidence.peak[slot, j]), 4) for j, name in enumerate(CHANNELS)}
        features = {
            name: round(float(value), 4)
            for name, value in zip(NAMES, columns.standing.row[slot], strict=True)
            if np.isfinite(value) and columns.admission.queries[slot] >= look_after(0)
        }
        account = self.account(slot)
        return Report(
            client=account.client,
            address=account.address,
            model=self.model,
            queries=int(columns.admission.queries[slot]),
            highest=int(columns.standing.highest[slot]),
            evidence=peaks | {"novelty": round(float(columns.standing.novelty[slot]), 4)},
            features=features,
            refused={reason: int(count) for reason, count in zip(REASONS, columns.conduct.refused[slot], strict=True) if count},
            reused=int(columns.conduct.reused[slot]),
            emitted=emitted,
        )

    def reports(self) -> Iterator[Report]:
        """Yield every client as it stands, by name."""
        for client in sorted(self._slots):
            yield self.report(self._slots[client])

    def snapshots(self, *, changed_only: bool) -> Iterator[tuple[str, bytes]]:
        """Yield (client, snapshot), of all clients or of those that changed since the last call; empty for a forgotten one."""
        if changed_only:
            yield from ((client, b"") for client in sorted(self._forgotten))
        self._forgotten.clear()
        slots = np.flatnonzero(self._dirty).tolist() if changed_only else list(self._slots.values())
        entered = self._ledger.of(self.columns.admission, self._dirty if changed_only else self._kept)
        fingerprint = self.reference.fingerprint
        for at in range(0, len(slots), ROWS_AT_ONCE):
            some = slots[at : at + ROWS_AT_ONCE]
            for slot, row in zip(some, self.columns.pack(np.array(some, np.int64)), strict=True):
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
        self._dirty[:] = False

    def restore(self, saved: Sequence[bytes]) -> None:
        """Take in clients from their snapshots, of which each client has one, replacing what is held of them.

        Raises `SnapshotError` when a snapshot has another meaning here.
        """
        fingerprint = self.reference.fingerprint
        for at in range(0, len(saved), ROWS_AT_ONCE):
            self._restore([load(data, self.columns.layout, fingerprint) for data in saved[at : at + ROWS_AT_ONCE]])

    def _restore(self, snapshots: list[ClientSnapshot]) -> None:
        slots = np.empty(len(snapshots), np.int64)
        for i, snapshot in enumerate(snapshots):
            if snapshot.model != self.key:
                raise SnapshotError(f"the snapshot is of model {snapshot.model!r}, not {self.key!r}")
            known = self._slots.get(snapshot.client)
            slots[i] = slot = self._admit_client(snapshot.client) if known is None else known
            self._examples.pop(slot, None)
            for name, ids in snapshot.examples.items():
                self._examples.setdefault(slot, {})[PLACES.index(name)] = deque(ids, maxlen=EXAMPLES)
        self.columns.unpack(slots, [snapshot.row for snapshot in snapshots])
        entered = np.frombuffer(b"".join(snapshot.ids for snapshot in snapshots), np.uint64).reshape(-1, 3)
        counts = [len(snapshot.ids) // 24 for snapshot in snapshots]
        self._ledger.enter(np.repeat(slots, counts), entered, self.columns.admission, self._kept)

    @property
    def progress(self) -> Progress:
        """What of the cohort itself has to be saved."""
        return Progress(self._since_lesson, self._room_at, tuple(self._population.tolist()))

    @progress.setter
    def progress(self, saved: Progress) -> None:
        self._since_lesson, self._room_at = saved.since_lesson, saved.room_at
        self._population[:] = saved.population
