"""The engine: a shard owns the clients of one partition of the stream, for all models.

`Shard.process` takes batches and returns their outputs. It is pure: no clock, no files, no client library. The same events in
the same order give the same outputs, however they are cut into batches and wherever the shard was saved and restored in
between.

A model with a baseline is watched from its first event. For a model without one, the first events wait until there are enough
to learn the input space from (see `learning`). The shard then processes them as if they had just arrived. It keeps what it
learned with its state.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from detector.engine.clients import ClientTable, TableProgress
from detector.engine.findings import EngineRefusal, Outputs, Report
from detector.engine.guard import StopGuard
from detector.engine.judge import Judge
from detector.engine.kinds import Kind
from detector.engine.learning import (
    LEAST_EVENTS,
    Patience,
    Row,
    Unknown,
    Waiting,
    by_batch,
    in_stream_order,
    learn_reference,
    variant_key,
)
from detector.engine.links.settings import LinkSettings
from detector.engine.models import novelty, reference
from detector.engine.models.drift import Drift, DriftMonitor, assess
from detector.engine.models.novelty import Evaluations, Norms, Novelty
from detector.engine.models.reference import Reference
from detector.engine.observer import Observer
from detector.engine.odometer.meters import Meters
from detector.engine.odometer.reference_set import ReferenceSet
from detector.engine.packing import pack, pack_arrays, pack_unknown, unpack, unpack_unknown
from detector.engine.parking import InMemory, Parked
from detector.engine.policy import PolicySettings, Thresholds, thresholds_for
from detector.engine.saved import arrays_from, check_reference, check_trees
from detector.errors import SnapshotError
from detector.ingest.batch import Batch, code_of, join

SHARD_KEY = ""  # the client part of the key under which a model's own state is saved; no client has an empty id
VERSIONS_KEY = "\0"  # the client part of the key for a model's versions; no account's key is only its mark


@dataclass(frozen=True, slots=True)
class ModelBaseline:
    """The baseline of one model: its reference, its norms and the evidence of calibration clients.

    `channel_scores` (clients, channels) is the highest evidence of each calibration client; the last `reviewed` of them were
    accepted by a person. `evaluations` are those of their scheduled evaluations that newcomers are compared with.
    `reference_set` judges copies for the odometer; it is None in older baselines, and where benign clients asked too little.
    `link_scores` (KINDS, 2) is what the log showed across accounts (`links.usual`); (groups,) or empty in older baselines.
    """

    reference: Reference
    norms: Norms
    channel_scores: npt.NDArray[np.float64]
    evaluations: Evaluations
    reviewed: int = 0
    reference_set: ReferenceSet | None = None
    link_scores: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def key(self) -> str:
        """Return eight bytes, in hex, that change with the norms."""
        digest = hashlib.sha256()
        for array in novelty.to_arrays(self.norms).values():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine runs; the configuration describes each setting.

    Without a `seed`, everybody who has this program can compute its random choices. The shard is one of so many `partitions`.
    With `odometer` the clients of models whose baseline has a reference set are measured.
    """

    policy: PolicySettings = field(default_factory=PolicySettings)
    max_clients: int = 100_000
    lateness_ms: int = 600_000
    learning_events: int = 512
    learning_ms: int = 3_600_000
    seed: int | None = None
    categorical: Mapping[str, tuple[int, ...]] | None = None
    partitions: int = 1
    links: LinkSettings = field(default_factory=LinkSettings)
    odometer: bool = True

    @property
    def secret(self) -> int:
        """The number that keys all random choices."""
        return 0 if self.seed is None else self.seed

    def dealt(self, partitions: int) -> "EngineSettings":
        """Return the settings of one of several shards.

        Each gets a part of the events to learn a model from, and of the stops that policy allows in a minute.
        """
        events = min(self.learning_events, max(self.learning_events // partitions, LEAST_EVENTS))
        return replace(self, learning_events=events, partitions=partitions)


class Shard:
    """Watches the clients of one partition; see the module's text.

    `baselines` maps a model to its baseline. An `observer`, where given, gets every event. `parked` keeps the suspects that had
    to make room, for this shard alone; by default they stay in memory.
    """

    def __init__(
        self,
        settings: EngineSettings | None = None,
        baselines: Mapping[str, ModelBaseline] | None = None,
        observer: Observer | None = None,
        parked: Parked | None = None,
    ) -> None:
        self._settings = settings or EngineSettings()
        self._parked = parked if parked is not None else InMemory()
        self._baselines = dict(baselines or {})
        self._observer = observer
        self._tables: dict[str, ClientTable] = {}  # by the key of their state
        self._monitors: dict[str, DriftMonitor] = {}
        self._learned: dict[str, Reference] = {}
        self._unknown: dict[str, Unknown] = {}
        self._patience = Patience(self._settings.learning_events, self._settings.learning_ms)

    def process(self, *batches: Batch) -> Outputs:
        """Process batches that were cut from the same stretch of the stream, of any models and lengths of input."""
        outputs = Outputs()
        by_model: dict[str, list[Batch]] = {}
        for batch in batches:
            if len(batch):
                by_model.setdefault(batch.model, []).append(batch)
        for model, parts in by_model.items():
            if model in self._baselines:
                dimension = self._baselines[model].reference.dimension
                self._watch(self._table(model, model), [_of_length(part, dimension, outputs) for part in parts], outputs)
            else:
                self._find_out(model, parts, outputs)
        outputs.sort()
        return outputs

    def _watch(self, table: ClientTable, parts: Sequence[Batch], outputs: Outputs, emitted: int | None = None) -> None:
        if not parts:
            return
        batch = join(parts)
        if batch.vector.shape[1] != table.reference.dimension:  # the batch holds refused queries only
            batch = replace(batch, vector=np.zeros((len(batch), table.reference.dimension), np.float32))
        table.process(batch, emitted, outputs)

    def _find_out(self, model: str, parts: Sequence[Batch], outputs: Outputs) -> None:
        """Process events of a model without a baseline; those of unknown versions may have to wait."""
        unknown = self._unknown.setdefault(model, Unknown())
        if all(version in unknown.settled for part in parts for version in set(part.version)):
            self._go_on(model, [(part, np.arange(len(part))) for part in parts], outputs)
            return
        ready: list[Row] = []
        for row in in_stream_order(parts):
            batch, at = row
            version, length = batch.version[at], batch.vector.shape[1]
            settled = unknown.settled.get(version)
            if settled is not None or (not length and unknown.variants):
                ready.append(row)
                continue
            waiting = unknown.waiting.setdefault(version, Waiting())
            if length in unknown.variants:
                waiting.vote(row)
                ready.append(row)
            elif not length and waiting.refused >= self._patience.events:
                continue  # more of them add nothing, and each is a dead-letter record already
            elif not waiting.meet(row):
                outputs.repeated += int(batch.refused[at] == 0)
            else:
                waiting.hold(row)
                if length:
                    waiting.vote(row)
                else:
                    waiting.refused += 1
            due = [version] if waiting.complete(int(batch.time[at]), self._patience) else unknown.crowded(self._patience)
            for chosen in due:
                self._go_on(model, by_batch(ready), outputs)
                ready = []
                self._start(model, chosen, int(batch.sequence[at]), outputs)
        self._go_on(model, by_batch(ready), outputs)
        for waiting in unknown.waiting.values():
            waiting.settle()

    def _go_on(
        self, model: str, parts: Sequence[tuple[Batch, npt.NDArray[np.intp]]], outputs: Outputs, emitted: int | None = None
    ) -> None:
        """Process rows of batches, whose versions or lengths are known."""
        unknown = self._unknown[model]
        fitting: dict[int, list[Batch]] = {}
        for batch, rows in parts:
            length = batch.vector.shape[1]
            if length in unknown.variants or len(unknown.variants) == 1:
                dimension = np.full(len(rows), unknown.dimension_of(None, length))
            else:
                dimension = np.array([unknown.dimension_of(batch.version[row], length) for row in rows.tolist()], np.int64)
            for one in dict.fromkeys(dimension.tolist()):
                taken = rows[dimension == one]
                some = batch if len(taken) == len(batch) else batch.take(taken)
                fitting.setdefault(one, []).append(_of_length(some, one, outputs))
        for dimension_of_all, batches in fitting.items():
            self._watch(self._table(model, unknown.variants[dimension_of_all]), batches, outputs, emitted)

    def _start(self, model: str, version: str | None, emitted: int, outputs: Outputs) -> None:
        """Decide the length of a version's inputs, learn it if it is new, and process the waiting events."""
        unknown = self._unknown[model]
        waiting = unknown.waiting.pop(version)
        waiting.settle()
        dimension = waiting.winner(self._patience)
        unknown.settle(version, dimension)
        held = list(waiting.batches)
        if dimension not in unknown.variants:
            key = variant_key(model, dimension if unknown.variants else None)
            for other in unknown.waiting.values():  # their events of this length need not wait any longer
                held += other.release(dimension)
            unknown.variants[dimension] = key
            asked = [batch for batch in held if batch.vector.shape[1] == dimension]
            fitting = [batch for batch in map(Batch.unperturbed, asked) if len(batch)] or asked  # of inputs alone, if all are
            categorical = (self._settings.categorical or {}).get(model, ())
            self._learned[key] = learn_reference(fitting, dimension, categorical, self._settings.secret)
        self._go_on(model, [(batch, np.arange(len(batch))) for batch in held], outputs, emitted)

    def finish(self) -> Outputs:
        """Process the events that still wait for a model to be learned; call it at the end of the stream."""
        outputs = Outputs()
        for model in sorted(self._unknown):
            waiting = self._unknown[model].waiting
            for version in sorted(waiting, key=str):
                self._start(model, version, waiting[version].last, outputs)
        outputs.sort()
        return outputs

    def _table(self, model: str, key: str) -> ClientTable:
        if key not in self._tables:
            known = self._baselines.get(key)
            settings = self._settings
            judged = Novelty(known.norms if known else None)
            observer = self._observer
            if known:
                observer = self._monitors[key] = DriftMonitor(known.evaluations, observer)
            self._tables[key] = ClientTable(
                model,
                known.reference if known else self._learned[key],
                judged,
                Judge(self._thresholds(key), settings.policy, judged, StopGuard(settings.policy, settings.partitions)),
                max_clients=settings.max_clients,
                lateness_ms=settings.lateness_ms,
                observer=observer,
                evaluations_alone=self._observer is None,
                secret=settings.secret,
                parked=self._parked,
                key=key,
                links=settings.links.enabled and known is not None,
                meters=self._meters(known),
            )
        return self._tables[key]

    def _meters(self, known: ModelBaseline | None) -> Meters | None:
        if not self._settings.odometer or known is None or known.reference_set is None:
            return None
        return Meters(known.reference_set)

    def _thresholds(self, key: str) -> Thresholds:
        known = self._baselines.get(key)
        return thresholds_for(
            self._settings.policy,
            known.norms.session_scores if known else None,
            known.channel_scores if known else None,
            known.reviewed if known else 0,
        )

    def adopt(self, policy: PolicySettings) -> None:
        """Go on under another policy, which must trust the same clients. What is in force stays, and so does all state.

        Raises ValueError where `trust_clients` differs: the state of clients depends on it.
        """
        if policy.trust_clients != self._settings.policy.trust_clients:
            raise ValueError("trust_clients cannot change while clients are held")
        self._settings = replace(self._settings, policy=policy)
        for key, table in self._tables.items():
            table.judge.adopt(self._thresholds(key), policy)

    def thresholds(self, model: str) -> Thresholds:
        """Return the thresholds in force for a model that is being watched."""
        return self._table(model, variant_key(model, None)).judge.thresholds

    @property
    def learning(self) -> dict[str, int]:
        """Models that are still being learned, and how many events they have so far."""
        return {
            model: sum(waiting.events for waiting in unknown.waiting.values())
            for model, unknown in self._unknown.items()
            if unknown.waiting and not unknown.variants
        }

    def waiting(self) -> Iterator[int]:
        """Yield the stream positions of the events that wait for their model to be learned."""
        for unknown in self._unknown.values():
            for waiting in unknown.waiting.values():
                yield from waiting.sequences()

    @property
    def monitors(self) -> Mapping[str, DriftMonitor]:
        """The drift monitors of the models with a baseline, which tell whether the calibration still fits."""
        return self._monitors

    @property
    def kinds(self) -> Iterator[tuple[str, Kind]]:
        """The kinds of clients that no baseline knows, met since the start: each with its model."""
        for table in self._tables.values():
            for kind in table.kinds:
                yield table.model, kind

    @property
    def clients(self) -> int:
        """How many clients are held in memory, over all models."""
        return sum(map(len, self._tables.values()))

    def holders(self, leads: Sequence[float]) -> list[int]:
        """Return how many clients in memory hold at least each of these leads of a model, counted once for each model."""
        counted = [table.holders(leads) for table in self._tables.values()]
        return [sum(of_lead) for of_lead in zip(*counted, strict=True)] if counted else [0] * len(leads)

    @property
    def parked(self) -> int:
        """How many clients are parked, over all models."""
        return len(self._parked)

    def reports(self) -> Iterator[Report]:
        """Yield the report of every client, by model and name."""
        for model in sorted(self._tables):
            yield from self._tables[model].reports()

    def snapshot(self, *, changed_only: bool = False) -> dict[tuple[str, str], bytes]:
        """Return the state as (model, client) -> bytes; the state of a model itself is under the empty client.

        With `changed_only`, clients that did not change since the last call are left out, and clients forgotten since then have
        empty bytes. A compacted topic that gets all of these holds the whole state.
        """
        saved = {}
        for key, table in self._tables.items():
            for client, data in table.snapshots(changed_only=changed_only):
                saved[key, client] = data
            own: dict[str, Any] = {
                "trees": pack_arrays(table.novelty.trees.state()),
                "progress": list(table.progress),
                "guard": table.judge.guard.state(),
            }
            if key in self._baselines:
                own["norms"] = self._baselines[key].key()
                own["drift"] = [self._monitors[key].key, pack_arrays(self._monitors[key].state())]
            if key in self._learned:
                own["model"] = table.model
                own["reference"] = pack_arrays(reference.to_arrays(self._learned[key]))
            saved[key, SHARD_KEY] = pack(own)
        for model, unknown in self._unknown.items():
            saved[model, VERSIONS_KEY] = pack(pack_unknown(unknown))
        return saved

    def restore(self, saved: Mapping[tuple[str, str], bytes]) -> None:
        """Restore what `snapshot` returned into a shard that has processed nothing.

        Raises `SnapshotError` when a snapshot is damaged, of another version or baseline; this shard must then be discarded.
        """
        try:
            self._restore(saved)
        except SnapshotError:
            raise
        except Exception as error:  # damaged bytes may raise any error
            raise SnapshotError(f"the saved state is damaged: {error!r}") from error

    def _restore(self, saved: Mapping[tuple[str, str], bytes]) -> None:
        for (model, client), data in saved.items():
            if client == VERSIONS_KEY and data:
                _refuse_baseline(model, self._baselines)
                self._unknown[model] = unpack_unknown(model, unpack(data))
        for (key, client), data in saved.items():
            if client == SHARD_KEY:
                self._restore_table(key, unpack(data))
        for unknown in self._unknown.values():  # lost state is learned again
            unknown.variants = {dimension: key for dimension, key in unknown.variants.items() if key in self._tables}
            unknown.settled = {version: length for version, length in unknown.settled.items() if length in unknown.variants}
        clients: dict[str, list[bytes]] = {}
        for (key, client), data in saved.items():
            if client not in {SHARD_KEY, VERSIONS_KEY} and data:
                clients.setdefault(key, []).append(data)
        for key, snapshots in clients.items():
            if key not in self._tables:
                raise SnapshotError(f"the saved state of model {key!r} lacks the part of the model itself")
            self._tables[key].restore(snapshots)

    def _restore_table(self, key: str, own: Mapping[str, Any]) -> None:
        model = key
        if "reference" in own:
            model = own["model"]
            _refuse_baseline(model, self._baselines)
            self._learned[key] = check_reference(reference.from_arrays(arrays_from(own["reference"])))
        elif key not in self._baselines:
            raise SnapshotError(f"the saved state of model {key!r} needs the baseline it was made under")
        table = self._table(model, key)
        # Norms extended by an acceptance since then have their own trees, which include what was accepted.
        if key not in self._baselines or own.get("norms", now := self._baselines[key].key()) == now:
            table.novelty.trees.restore(check_trees(arrays_from(own["trees"])))
        if "drift" in own and (monitor := self._monitors[key]).key == own["drift"][0]:
            monitor.restore(arrays_from(own["drift"][1]))
        if "guard" in own:
            table.judge.guard.restore(own["guard"])
        since_lesson, parked_until, population = own["progress"]
        table.progress = TableProgress(int(since_lesson), int(parked_until), tuple(float(share) for share in population))


def _refuse_baseline(model: str, baselines: Mapping[str, ModelBaseline]) -> None:
    if model in baselines:
        raise SnapshotError(
            f"the saved state of model {model!r} was made without a baseline, and now there is one: start without saved state"
        )


def drifts(shards: Iterable[Shard]) -> dict[str, Drift]:
    """Return, for each model with a baseline, how well the clients of all these shards fit the calibration."""
    monitors: dict[str, list[DriftMonitor]] = {}
    for shard in shards:
        for model, monitor in shard.monitors.items():
            monitors.setdefault(model, []).append(monitor)
    return {model: assess(some) for model, some in sorted(monitors.items())}


def _of_length(batch: Batch, dimension: int, outputs: Outputs) -> Batch:
    """Return the batch unchanged if its inputs have the right length or there are none; otherwise refuse its queries."""
    length = batch.vector.shape[1]
    if length in {0, dimension}:
        return batch
    detail = f"input has {length} values, model {batch.model!r} takes {dimension}"
    outputs.refusals += [
        EngineRefusal(int(batch.sequence[i]), "dimension", detail, batch.client[i], batch.model)
        for i in np.flatnonzero(batch.refused == 0).tolist()
    ]
    digest = [int.from_bytes(blake2b(row.tobytes(), digest_size=8).digest(), "little") for row in batch.vector]
    refused = batch.refuse(batch.refused == 0, code_of("dimension"), np.array(digest, np.uint64))
    return replace(refused, vector=np.zeros((len(batch), 0), np.float32))
