"""The engine: a shard owns the clients of one partition of the stream, for all models.

`Shard.process` takes batches and returns what they led to. It is pure: no clock, no files, no client library; the same events
in the same order give the same outputs, however they are cut into batches and wherever the shard was saved and restored in
between.

A model with a baseline is watched from its first event. For a model without one the shard learns first: it holds back the
first events until there are enough to learn the input space from, then processes them as if they had just arrived. What it
learned so is kept with its state.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from detector.cohort import Cohort, Observer
from detector.errors import BaselineError, SnapshotError
from detector.findings import Outputs, Refusal, Report
from detector.ingest.batch import Batch, Sender
from detector.judgement import Judge
from detector.models import novelty, reference
from detector.models.drift import Drift, DriftMonitor, assess
from detector.models.novelty import Looks, Norms, Novelty
from detector.models.reference import LEAST_ROWS, Reference, fit_reference
from detector.policy import Bars, Terms, bars_for
from detector.saved import arrays_from, check_batch, check_reference, check_trees, check_waiting
from detector.state import SNAPSHOT_VERSION

SHARD_KEY = ""  # the client part of the key under which a model's own state is saved; no client has an empty id


@dataclass(frozen=True, slots=True)
class ModelBaseline:
    """What is known of one model beforehand: its reference, its norms and the evidence scores of calibration clients.

    `channel_scores` is (clients, channels), the highest evidence of each calibration client; `looks` are those of their looks
    that newcomers are compared with.
    """

    reference: Reference
    norms: Norms
    channel_scores: npt.NDArray[np.float64]
    looks: Looks

    def key(self) -> str:
        """Return eight bytes, in hex, that differ when the norms differ."""
        digest = hashlib.sha256()
        for array in novelty.to_arrays(self.norms).values():
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How the engine runs; see the configuration for what each means to the operator."""

    terms: Terms = field(default_factory=Terms)
    max_clients: int = 100_000
    lateness_ms: int = 600_000
    learning_events: int = 512
    seed: int = 0
    categorical: Mapping[str, tuple[int, ...]] | None = None


class Shard:
    """Watches the clients of one partition; see the module's text.

    `baselines` maps a model to what is known of it. An `observer`, where given, sees every event.
    """

    def __init__(
        self,
        settings: EngineSettings | None = None,
        baselines: Mapping[str, ModelBaseline] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._settings = settings or EngineSettings()
        self._baselines = dict(baselines or {})
        self._observer = observer
        self._cohorts: dict[str, Cohort] = {}
        self._monitors: dict[str, DriftMonitor] = {}
        self._learned: dict[str, Reference] = {}
        self._waiting: dict[str, list[Batch]] = {}
        self._awaited: dict[str, set[tuple[str, str, int]]] = {}

    def process(self, *batches: Batch) -> Outputs:
        """Process batches, one per model, that were cut from the same stretch of the stream."""
        outputs = Outputs()
        for batch in batches:
            if len(batch) == 0:
                continue
            expected = self._dimension(batch.model)
            if expected is not None and batch.vector.shape[1] != expected:
                outputs.refusals += _wrong_dimension(batch, expected)
            elif batch.model in self._cohorts or batch.model in self._baselines:
                outputs.add(self._cohort(batch.model).process(batch))
            else:
                outputs.add(self._learn(batch))
        outputs.sort()
        return outputs

    def finish(self) -> Outputs:
        """Process what still waits for a model to be learned: the stream has ended."""
        outputs = Outputs()
        for model in sorted(self._waiting):
            last = int(self._waiting[model][-1].sequence[-1])
            outputs.add(self._start(model, last))
        outputs.sort()
        return outputs

    def _dimension(self, model: str) -> int | None:
        if model in self._cohorts:
            return self._cohorts[model].reference.dimension
        if model in self._baselines:
            return self._baselines[model].reference.dimension
        if model in self._waiting:
            return int(self._waiting[model][0].vector.shape[1])
        return None

    def _cohort(self, model: str) -> Cohort:
        if model not in self._cohorts:
            known = self._baselines.get(model)
            settings = self._settings
            judged = Novelty(known.norms if known else None)
            bars = bars_for(
                settings.terms,
                known.norms.session_scores if known else None,
                known.channel_scores if known else None,
            )
            observer = self._observer
            if known:
                observer = self._monitors[model] = DriftMonitor(known.looks, observer)
            self._cohorts[model] = Cohort(
                model,
                known.reference if known else self._learned[model],
                judged,
                Judge(bars, settings.terms, judged),
                max_clients=settings.max_clients,
                lateness_ms=settings.lateness_ms,
                observer=observer,
            )
        return self._cohorts[model]

    def bars(self, model: str) -> Bars:
        """Return the bars in force for a model that is being watched."""
        return self._cohort(model).judge.bars

    def _learn(self, batch: Batch) -> Outputs:
        """Hold events back until there are enough; the event that completes them sets everything going.

        Repeats are left out at once, or they would shape what is learned.
        """
        waiting = self._waiting.setdefault(batch.model, [])
        known = self._awaited.setdefault(batch.model, set())
        # At least one, in case that fewer are asked for since these began to wait.
        missing = max(self._settings.learning_events - sum(map(len, waiting)), 1)
        fresh: list[int] = []
        at = 0
        while at < len(batch) and len(fresh) < missing:
            key = (batch.client[at], batch.event_id[at], int(batch.time[at]))
            if key not in known:
                known.add(key)
                fresh.append(at)
            at += 1
        outputs = Outputs(repeated=at - len(fresh))
        if fresh:
            waiting.append(batch.take(np.array(fresh)))
        if len(fresh) < missing:
            return outputs
        outputs.add(self._start(batch.model, int(batch.sequence[at - 1])))
        if at < len(batch):
            outputs.add(self._cohorts[batch.model].process(batch.take(np.arange(at, len(batch)))))
        return outputs

    def _start(self, model: str, emitted: int) -> Outputs:
        """Learn the input space from the events that wait, then process them."""
        waiting = self._waiting.pop(model)
        self._awaited.pop(model, None)
        vectors = np.concatenate([batch.vector for batch in waiting])
        labels = len({int(label) for batch in waiting for label in batch.label})
        categorical = (self._settings.categorical or {}).get(model, ())
        try:
            learned = fit_reference(vectors, labels, seed=self._settings.seed, categorical=categorical)
        except BaselineError:
            # Too few queries, or all the same. Noise around them gives the input space a shape of its own.
            rng = np.random.default_rng(self._settings.seed)
            copies = np.resize(vectors, (len(vectors) + LEAST_ROWS, vectors.shape[1]))
            size = np.float32(max(float(np.abs(vectors).max()) * 0.01, 1e-6))
            noisy = np.clip(copies + size * rng.standard_normal(copies.shape, np.float32), -1e38, 1e38)
            learned = fit_reference(noisy, labels, seed=self._settings.seed)
        self._learned[model] = learned
        outputs = Outputs()
        for batch in waiting:
            outputs.add(self._cohort(model).process(batch, emitted))
        return outputs

    @property
    def learning(self) -> dict[str, int]:
        """Models that are still being learned, and how many events they have so far."""
        return {model: sum(map(len, waiting)) for model, waiting in self._waiting.items()}

    def waiting(self) -> Iterator[int]:
        """Yield the stream positions of the events that wait for their model to be learned."""
        for waiting in self._waiting.values():
            for batch in waiting:
                yield from batch.sequence.tolist()

    @property
    def monitors(self) -> Mapping[str, DriftMonitor]:
        """What watches, for each model with a baseline, whether the calibration still fits."""
        return self._monitors

    @property
    def clients(self) -> int:
        """How many clients are held, over all models."""
        return sum(map(len, self._cohorts.values()))

    def reports(self) -> Iterator[Report]:
        """Yield every client as it stands, by model and name."""
        for model in sorted(self._cohorts):
            yield from self._cohorts[model].reports()

    def snapshot(self, *, changed_only: bool = False) -> dict[tuple[str, str], bytes]:
        """Return the state as (model, client) -> bytes; under the empty client, what belongs to the model itself.

        With `changed_only`, clients that did not change since the last call are left out, and those forgotten since have empty
        bytes: what a compacted topic holds after all of it is the whole state.
        """
        saved = {}
        for model, cohort in self._cohorts.items():
            for client, data in cohort.snapshots(changed_only=changed_only):
                saved[model, client] = data
            own: dict[str, Any] = {
                "trees": _pack_arrays(cohort.novelty.trees.state()),
                "progress": list(cohort.progress),
            }
            if model in self._baselines:
                own["norms"] = self._baselines[model].key()
                own["drift"] = [self._monitors[model].key, _pack_arrays(self._monitors[model].state())]
            if model in self._learned:
                own["reference"] = _pack_arrays(reference.to_arrays(self._learned[model]))
            saved[model, SHARD_KEY] = _pack(own)
        for model, waiting in self._waiting.items():
            saved[model, SHARD_KEY] = _pack({"waiting": [_pack_batch(batch) for batch in waiting]})
        return saved

    def restore(self, saved: Mapping[tuple[str, str], bytes]) -> None:
        """Take over what `snapshot` returned, into a shard that has processed nothing.

        Raises `SnapshotError` when a snapshot is damaged, of another version or baseline; this shard is spoilt then.
        """
        try:
            self._restore(saved)
        except SnapshotError:
            raise
        except Exception as error:  # damaged bytes raise whatever they lead to
            raise SnapshotError(f"the saved state is damaged: {error!r}") from error

    def _restore(self, saved: Mapping[tuple[str, str], bytes]) -> None:
        for (model, client), data in saved.items():
            if client != SHARD_KEY:
                continue
            own = _unpack(data)
            if model in self._baselines and ("waiting" in own or "reference" in own):
                raise SnapshotError(
                    f"the saved state of model {model!r} was made without a baseline, and now there is one: "
                    "start without saved state"
                )
            if "waiting" in own:
                waiting = check_waiting([check_batch(_unpack_batch(model, packed)) for packed in own["waiting"]])
                self._waiting[model] = waiting
                self._awaited[model] = {
                    key for batch in waiting for key in zip(batch.client, batch.event_id, batch.time.tolist(), strict=True)
                }
                continue
            if "reference" in own:
                self._learned[model] = check_reference(reference.from_arrays(arrays_from(own["reference"])))
            elif model not in self._baselines:
                raise SnapshotError(f"the saved state of model {model!r} needs the baseline it was made under")
            cohort = self._cohort(model)
            # Norms that were taught since bring trees of their own, which know what was taught.
            if model not in self._baselines or own.get("norms", key := self._baselines[model].key()) == key:
                cohort.novelty.trees.restore(check_trees(arrays_from(own["trees"])))
            if "drift" in own and (monitor := self._monitors[model]).key == own["drift"][0]:
                monitor.restore(arrays_from(own["drift"][1]))
            cohort.progress = (int(own["progress"][0]), int(own["progress"][1]))
        clients: dict[str, list[bytes]] = {}
        for (model, client), data in saved.items():
            if client != SHARD_KEY and data:
                clients.setdefault(model, []).append(data)
        for model, snapshots in clients.items():
            if model not in self._cohorts:
                raise SnapshotError(f"the saved state of model {model!r} lacks the part of the model itself")
            self._cohorts[model].restore(snapshots)


def drifts(shards: Iterable[Shard]) -> dict[str, Drift]:
    """Return, for each model with a baseline, how well the clients of all these shards fit the calibration."""
    monitors: dict[str, list[DriftMonitor]] = {}
    for shard in shards:
        for model, monitor in shard.monitors.items():
            monitors.setdefault(model, []).append(monitor)
    return {model: assess(some) for model, some in sorted(monitors.items())}


def _wrong_dimension(batch: Batch, expected: int) -> list[Refusal]:
    detail = f"input has {batch.vector.shape[1]} values, model {batch.model!r} takes {expected}"
    return [Refusal(int(sequence), "dimension", detail) for sequence in batch.sequence]


def _pack(content: dict[str, Any]) -> bytes:
    return msgspec.msgpack.encode([SNAPSHOT_VERSION, content])


def _unpack(data: bytes) -> dict[str, Any]:
    try:
        version, content = msgspec.msgpack.decode(data, type=tuple[int, dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise SnapshotError(f"the saved state of a model is damaged: {error}") from error
    if version != SNAPSHOT_VERSION:
        raise SnapshotError(f"the saved state has format {version}, this version reads format {SNAPSHOT_VERSION}")
    return content


def _pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    return {name: [array.dtype.str, list(array.shape), np.ascontiguousarray(array).tobytes()] for name, array in arrays.items()}


_COLUMNS = ("sequence", "time", "vector", "label", "confidence", "runner_up", "weight")


def _pack_batch(batch: Batch) -> dict[str, Any]:
    return {
        "arrays": _pack_arrays({name: getattr(batch, name) for name in _COLUMNS}),
        "client": list(batch.client),
        "event_id": list(batch.event_id),
        "version": list(batch.version),
        "sender": [[s.type, s.trusted, s.organization, s.ip, s.user_agent] for s in batch.sender],
    }


def _unpack_batch(model: str, packed: Mapping[str, Any]) -> Batch:
    arrays = arrays_from(packed["arrays"])
    return Batch(
        model=model,
        client=packed["client"],
        event_id=packed["event_id"],
        version=packed["version"],
        sender=[Sender(*fields) for fields in packed["sender"]],
        **arrays,
    )
