"""Rehearsals: throw-away shards that load, and where needed compile, the kernels before the first event that matters.

Compiling all kernels takes a minute of CPU time, during which nothing is watched. So a service rehearses with its own baselines
before it joins its consumer groups. An installation or the build of an image runs `warm_up` once, which rehearses with every
kind of input: tables and pictures, with and without a baseline, with and without probabilities.

The events are made up and are not published; a rehearsal leaves nothing behind but machine code.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.features.row import NAMES
from detector.engine.links.linker import Linker
from detector.engine.links.sketch import in_stream_order
from detector.engine.memory.reservoir import NO_MARGIN
from detector.engine.models.novelty import LEAST_CLIENTS, Evaluations
from detector.engine.models.profiles import STAGES
from detector.engine.models.reference import Reference
from detector.engine.odometer.meter import FIRST_READING, Meter
from detector.engine.odometer.meters import read_together
from detector.engine.odometer.reference_set import ReferenceSet, sample_reference_set
from detector.engine.odometer.told import told_of
from detector.engine.odometer.view import Retained, view_of
from detector.engine.shard import EngineSettings, ModelBaseline, Shard
from detector.ingest.batch import Batch, Sender, code_of
from detector.ingest.scanner import scan_once

CLIENTS = 6
QUERIES = 24  # queries of each client: evaluations begin at 8, lessons of the trees at 16
LEARNED_FROM = 32  # events that a model without a baseline is learned from
HELD = 4  # clients held in memory; the others have to make room
TABLE, PICTURE = 6, 64  # values of an input; 64 pixels are too many to be all sampled, so checksums are kept
RECORDS = 1200  # records of the table's population; co-occurrence needs 500 different ones
PIXELS = 300


def rehearse(baselines: Mapping[str, ModelBaseline] | None = None) -> None:
    """Run every model of `baselines` briefly; without any, a model that has to be learned first.

    Loads the scanner of records, too. It takes about a second where machine code is cached.
    """
    scan_once()
    rng = np.random.default_rng(0)
    known = dict(baselines or {})
    pools = {model: _like(entry, rng) for model, entry in known.items()} or {"rehearsal": _picture(rng)}
    for model, pool in pools.items():
        _run({model: known[model]} if model in known else {}, _batch(model, pool, rng))
    for entry in known.values():
        if entry.reference_set is not None:
            _read(entry.reference_set)


def warm_up() -> None:
    """Rehearse with every kind of input, and fit all models: afterwards all kernels are compiled."""
    # Imported here: a service with a baseline does not need scikit-learn's fitters, which take a second to load.
    from detector.engine.fitting.noise import Taught, Unheard  # noqa: PLC0415
    from detector.engine.fitting.novelty import fit_norms  # noqa: PLC0415
    from detector.engine.fitting.reference import fit_reference  # noqa: PLC0415
    from detector.engine.fitting.unheard import fit_unheard  # noqa: PLC0415

    rng = np.random.default_rng(0)
    norms = fit_norms(_evaluations(rng)).norms
    scores = np.zeros((LEAST_CLIENTS, len(CHANNELS)))
    for pool, categorical in ((_table(rng), (0,)), (_picture(rng), ()), (_embeddings(rng), ())):
        clients = [f"teacher-{i % LEAST_CLIENTS}" for i in range(len(pool))]
        learned = fit_reference(pool, 2, seed=0, categorical=categorical, clients=clients)
        taught = Taught(pool[::2], clients[: len(pool[::2])])
        learned = fit_unheard(learned, taught, Unheard(pool[1::2], clients[: len(pool) // 2]), seed=0)
        rehearse({"rehearsal": ModelBaseline(learned, norms, scores, _evaluations(rng))})
        _run({}, _batch("rehearsal", pool, rng))
        _measure(learned, pool, clients)


def _run(known: Mapping[str, ModelBaseline], batch: Batch) -> None:
    """Process the batch in two shards, the second of which starts from the saved state of the first, and link its accounts."""
    settings = EngineSettings(max_clients=HELD, learning_events=LEARNED_FROM)
    half = len(batch) // 2
    first = Shard(settings, known)
    sketches = in_stream_order(first.process(batch.take(np.arange(half))).sketches)
    for model, some in sketches.items():
        Linker(model, settings.links, known[model].reference, settings.policy).process(some)
    second = Shard(settings, known)
    second.restore(first.snapshot())
    second.process(batch.take(np.arange(half, len(batch))))
    second.snapshot(changed_only=True)


def _measure(learned: Reference, pool: npt.NDArray[np.float32], clients: Sequence[str]) -> None:
    """Read the odometers once, that of recorded logs and that of the service."""
    label = (np.arange(len(pool)) % 2).astype(np.int32)
    judge = sample_reference_set(learned, pool, label, clients, 0)
    if judge is not None:
        asked = learned.reduce(pool[:FIRST_READING])
        Meter(judge, 0).add(told_of(asked.z, asked.c, label[:FIRST_READING]))
        _read(judge)


def _read(judge: ReferenceSet) -> None:
    """Read the odometer of a client that asked for some of the reference inputs."""
    n = len(judge.label)
    told = Retained(judge.z, judge.c, judge.label, np.zeros(n, np.uint8), np.full(n, NO_MARGIN, np.int16))
    read_together(view_of(judge), [told.take(slice(FIRST_READING))], FIRST_READING)


def _batch(model: str, pool: npt.NDArray[np.float32], rng: np.random.Generator) -> Batch:
    """Return queries of several clients, drawn from the inputs `pool` (n, dimension).

    One client gets labels alone, one query in ten is refused, one is a repeat, and each client asks some queries that lie close
    together: a kernel for a rare case is loaded with the first query that needs it.
    """
    n = CLIENTS * QUERIES
    client = np.arange(n) % CLIENTS
    confidence = np.where(client == 0, np.nan, rng.uniform(0.5, 1.0, n)).astype(np.float32)
    vector = pool[rng.integers(len(pool), size=n)]
    vector[n // 2 :: 2, -1] += 0.1
    refused = (np.arange(n) % 10 == 9).astype(np.uint8) * np.uint8(code_of("schema"))
    return Batch(
        model=model,
        sequence=np.arange(n),
        time=1_700_000_000_000 + 1000 * np.arange(n),
        client=[f"client-{number}" for number in client],
        event_id=[str(max(i, 1)) for i in range(n)],
        vector=vector,
        label=rng.integers(2, size=n).astype(np.int32),
        confidence=confidence,
        runner_up=np.float32(1.0) - confidence,
        weight=np.ones(n, np.float32),
        sender=[Sender()] * n,
        version=[None] * n,
        refused=refused,
        digest=np.arange(n).astype(np.uint64),
    )


def _like(known: ModelBaseline, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return inputs in the value ranges of a model's population."""
    learned = known.reference
    with np.errstate(all="ignore"):
        values = learned.offset + rng.random((PIXELS, learned.dimension)) / learned.scale
    return np.asarray(np.clip(np.nan_to_num(values), -1e38, 1e38), np.float32)


def _table(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return records of a table whose columns belong together, one of them of codes, with missing values."""
    kind = rng.integers(8, size=(RECORDS, 1))
    records = np.asarray(kind + 0.05 * rng.standard_normal((RECORDS, TABLE)), np.float32)
    records[:, 0] = kind[:, 0]
    records[::50, 1] = np.nan
    return records


def _picture(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return pictures of noise in which neighbours are alike."""
    side = math.isqrt(PICTURE)
    noise = rng.random((PIXELS, side + 1, side + 1), np.float32)
    soft = noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1] + noise[:, :-1, :-1]
    return np.ascontiguousarray(soft.reshape(PIXELS, PICTURE) / 4.0)


def _embeddings(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return vectors of length one that are far from noise."""
    vectors = rng.standard_normal((PIXELS, PICTURE)) ** 3 * np.linspace(0.1, 1.0, PICTURE)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _evaluations(rng: np.random.Generator) -> Evaluations:
    """Return evaluations of the least number of clients that norms can be fitted on."""
    queries = STAGES[:6]
    rows = rng.standard_normal((LEAST_CLIENTS * len(queries), len(NAMES)))
    return Evaluations(np.repeat(np.arange(LEAST_CLIENTS), len(queries)), np.tile(queries, LEAST_CLIENTS), rows)
