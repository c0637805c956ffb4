"""The same events give the same documents, byte for byte: cut anywhere, restarted anywhere, dealt over partitions."""

import json
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.secret import settings_of
from detector.baseline.settings import engine_settings
from detector.baseline.store import Baseline
from detector.config import Config
from detector.contracts import to_json
from detector.engine import walk
from detector.engine.findings import Outputs
from detector.engine.models import novelty, trees
from detector.engine.partition import partition_of
from detector.engine.shard import EngineSettings, Shard
from detector.ingest.batch import Batch
from detector.sinks import render
from detector.testing import batches, watch
from tests.alone import about_one_client

Lines = Callable[..., list[bytes]]
Drive = Callable[..., dict[str, bytes]]

MODELS = st.sampled_from([("alpha",), ("alpha", "beta", "gamma")])
SEEDS = st.integers(0, 10_000)
LATE_MS = 3_600_000


def cuts_of(rng: np.random.Generator, events: int, most: int = 30) -> list[int]:
    return [int(cut) for cut in rng.integers(0, events, int(rng.integers(0, most)))]


@settings(max_examples=10)
@given(SEEDS, MODELS, st.booleans(), st.sampled_from([2, 5, 100_000]))
def test_the_cut_into_batches_does_not_show(
    make_log: Lines,
    drive: Drive,
    benign: Callable[[], Baseline],
    seed: int,
    models: tuple[str, ...],
    known: bool,
    room: int,
) -> None:
    """One batch, random batches and one event at a time, with repeats, disorder, learning and evictions: equal bytes."""
    lines = make_log(seed, models=models, clients=12 if room == 5 else 6, strays=0.02)
    engine = EngineSettings(learning_events=40, max_clients=room, lateness_ms=LATE_MS)
    baselines = benign().models if known else None
    whole = drive(lines, engine, baselines)
    assert drive(lines, engine, baselines, cuts=range(len(lines))) == whole
    assert drive(lines, engine, baselines, cuts=cuts_of(np.random.default_rng(seed), len(lines))) == whole


@settings(max_examples=10)
@given(SEEDS, MODELS, st.booleans(), st.booleans(), st.sampled_from([3, 100_000]))
def test_a_restart_does_not_show(
    make_log: Lines,
    drive: Drive,
    benign: Callable[[], Baseline],
    seed: int,
    models: tuple[str, ...],
    known: bool,
    compacted: bool,
    room: int,
) -> None:
    """Restored from a snapshot, whole or accumulated change by change, a shard goes on as if nothing had happened."""
    lines = make_log(seed, models=models, clients=9)
    engine = EngineSettings(learning_events=40, max_clients=room, lateness_ms=LATE_MS)
    baselines = benign().models if known else None
    rng = np.random.default_rng(seed)
    found = drive(
        lines, engine, baselines, cuts=cuts_of(rng, len(lines)), restarts=cuts_of(rng, len(lines), 6), compacted=compacted
    )
    assert found == drive(lines, engine, baselines)


@pytest.mark.parametrize("compacted", [False, True])
def test_a_restart_at_every_event_does_not_show(make_log: Lines, drive: Drive, compacted: bool) -> None:
    """Also while a model is being learned, and at the event that completes it."""
    lines = make_log(5, events=50, models=("alpha", "beta"))
    engine = EngineSettings(learning_events=12, max_clients=4)
    every = range(len(lines))
    assert drive(lines, engine, cuts=every, restarts=every, compacted=compacted) == drive(lines, engine)


@pytest.fixture
def eager_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the trees learn often and in short windows, so that a short log changes their scores many times."""
    monkeypatch.setattr(walk, "LESSON_EVERY", 2)
    monkeypatch.setattr(trees, "WINDOW", 9)
    monkeypatch.setattr(novelty, "WINDOW", 9)


@pytest.mark.usefixtures("eager_trees")
@pytest.mark.parametrize("known", [False, True])
def test_lessons_fall_on_the_same_events(make_log: Lines, drive: Drive, generated_baseline: Baseline, known: bool) -> None:
    """The trees learn in stream order, and every evaluation is scored by what was learned before it."""
    lines = make_log(
        8,
        events=1200,
        clients=30,
        dimension=9,
        pauses=0.0,
        disorder=0.0,
        repeats=0.0,
        habits=("random", "random", "random", "flat"),
    )
    baselines = generated_baseline.models if known else None
    engine = EngineSettings(learning_events=40)
    shard = Shard(engine, baselines)
    shard.process(*batches(lines))
    before = Shard(engine, baselines)._table("alpha", "alpha").novelty.trees.state() if known else {"counts": np.zeros(2)}
    windows = shard._tables["alpha"].novelty.trees.state()["counts"][1] - before["counts"][1]
    assert windows >= 3
    rng = np.random.default_rng(1)
    whole = drive(lines, engine, baselines)
    assert any(json.loads(line)["evidence"]["novelty"] > 0 for line in whole["clients"].split(b"\n"))
    for _ in range(3):
        assert drive(lines, engine, baselines, cuts=cuts_of(rng, 1200)) == whole
        assert drive(lines, engine, baselines, cuts=cuts_of(rng, 1200), restarts=cuts_of(rng, 1200, 5)) == whole
    assert drive(lines, engine, baselines, cuts=range(1200)) == whole


def test_what_is_waiting_when_the_stream_ends_is_not_lost(make_log: Lines, drive: Drive) -> None:
    """A log shorter than the learning is learned from what there is, in any cut and over restarts."""
    lines = make_log(2, events=70, repeats=0.0, disorder=0.0)
    engine = EngineSettings(learning_events=1000)
    whole = drive(lines, engine)
    assert sum(len(line) > 0 for line in whole["clients"].split(b"\n")) == 6
    assert drive(lines, engine, cuts=range(70), restarts=[30, 69], compacted=True) == whole


@settings(max_examples=4)
@given(SEEDS, st.sampled_from([2, 3, 7]), st.booleans(), st.integers(30, 200))
def test_a_shard_a_partition_gives_what_the_pipeline_gives(
    make_log: Lines, benign: Callable[[], Baseline], seed: int, partitions: int, known: bool, chunk: int
) -> None:
    """Workers that own one partition each find together what one process finds, in stream order there."""
    lines = make_log(seed, models=("alpha", "beta"), clients=9)
    config = Config.model_validate({"engine": {"learning_events": 32, "lateness_minutes": 60}})
    baseline = benign() if known else None
    seen = watch(lines, config, baseline, chunk=chunk, partitions=partitions)
    stamp = render.Stamp(baseline.version if baseline else "none", config.version, engine_settings(config).policy)
    alerts, decisions, clients = [], [], []
    for partition in range(partitions):
        shard = Shard(settings_of(config, baseline).dealt(partitions), baseline.models if baseline else None)
        total = Outputs()
        total.add(shard.process(*(own(batch, partition, partitions) for batch in batches(lines))))
        total.add(shard.finish())
        alerts += [to_json(render.alert(finding, stamp)) for finding in total.findings]
        decisions += [to_json(render.decision(order, stamp)) for order in total.pending_decisions]
        clients += [render.client(report) for report in shard.reports()]
    assert sorted(alerts) == sorted(filter(about_one_client, map(to_json, seen.raised)))
    assert sorted(decisions) == sorted(filter(about_one_client, map(to_json, seen.decided)))
    assert clients == seen.reported
    assert seen.written() == watch(lines, config, baseline, chunk=1000, partitions=partitions).written()


def own(batch: Batch, partition: int, partitions: int) -> Batch:
    mine = [i for i, client in enumerate(batch.client) if partition_of(client, partitions) == partition]
    return batch.take(np.array(mine, np.intp))


@settings(max_examples=5)
@given(SEEDS)
def test_evidence_of_construction_is_the_client_s_own(make_log: Lines, benign: Callable[[], Baseline], seed: int) -> None:
    """Under a baseline nobody else's queries move a client's features or its evidence of construction."""
    lines = make_log(seed)
    crowd = reports(lines, benign())
    for client in sorted(crowd):
        alone = reports([line for line in lines if f'"{client}"'.encode() in line], benign())
        assert alone[client] == crowd[client]


def reports(lines: Sequence[bytes], baseline: Baseline) -> dict[str, tuple[dict[str, float], dict[str, float], int]]:
    shard = Shard(EngineSettings(), baseline.models)
    shard.process(*batches(lines))
    return {
        report.client: (
            {name: value for name, value in report.evidence.items() if name != "novelty"},
            dict(report.features),
            report.queries,
        )
        for report in shard.reports()
    }


def test_models_do_not_meet(make_log: Lines, drive: Drive) -> None:
    """Two models in one stream are watched as if each had a stream of its own."""
    lines = make_log(3, models=("alpha", "beta"), events=240)
    engine = EngineSettings(learning_events=32)
    both = drive(lines, engine)
    for model in ("alpha", "beta"):
        alone = drive([line for line in lines if f'"model": {{"id": "{model}"}}'.encode() in line], engine)
        for kind in ("alerts", "decisions", "clients"):
            of_model = [line for line in both[kind].split(b"\n") if f'"{model}"'.encode() in line]
            assert of_model == [line for line in alone[kind].split(b"\n") if line]


def test_a_damaged_start_is_learned_again_the_same(make_log: Lines) -> None:
    """Fewer learning events than already wait, after a change of the settings, start the model at the next event."""
    lines = make_log(4, events=60, repeats=0.0)
    before = Shard(EngineSettings(learning_events=1000))
    before.process(*batches(lines[:50]))
    after = Shard(EngineSettings(learning_events=32))
    after.restore(before.snapshot())
    assert after.learning == {"alpha": 50}
    after.process(*batches(lines[50:], first_sequence=50))
    assert after.learning == {}
    assert after.clients == 6
