"""The bench's building blocks, at sizes that say nothing about speed."""

import json
from pathlib import Path

import orjson
import pytest

from detector.baseline.store import Baseline
from detector.engine.memory.reservoir import TABLE_CAPACITY
from tests.bench import bench_batches, bench_formats, bench_links, bench_pipeline
from tests.bench.bench_log import make_log
from tests.bench.bench_pipeline import Alternatives, Size, measure_history, measure_speed, show, warmed
from tests.bench.format_records import SUBJECTS, Subject
from tests.bench.subjects import DecodeToArrays, Ingest, Whole, fit

TINY = Size(
    few=8,
    many=20,
    rounds=1,
    events=400,
    naive_clients=2,
    naive_events=5,
    prada_history=30,
    prada_events=5,
    short=10,
    long=60,
    history_clients=4,
    baseline_clients=10,
    baseline_queries=20,
)


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    """Fit on a log of its own, as the bench does."""
    return fit(TINY.baseline_clients, TINY.baseline_queries)


def test_a_log_continues_where_another_ends() -> None:
    """Pieces of a stream share no event id and no query, and their clocks follow on."""
    head = [orjson.loads(line) for line in make_log(50, 3, seed=1)]
    tail = [orjson.loads(line) for line in make_log(50, 3, first=5000, seed=1)]
    assert not {event["event_id"] for event in head} & {event["event_id"] for event in tail}
    assert not {str(event["input"]) for event in head} & {str(event["input"]) for event in tail}
    assert max(event["time"] for event in head) < min(event["time"] for event in tail)


def test_every_subject_takes_the_same_lines(baseline: Baseline) -> None:
    """Decoding, ingest and the pipeline run over one log, and the pipeline counts every event of it."""
    lines = make_log(1200, 5, seed=2)
    whole = Whole(baseline)
    for subject in (DecodeToArrays(), DecodeToArrays(100), Ingest(), whole):
        subject(lines)
    assert whole.counted == len(lines)


def test_restored_clients_have_the_memories_of_their_donors(baseline: Baseline) -> None:
    """Clients restored from snapshots look like those who sent all the queries themselves."""
    donors = warmed(baseline, 2)
    whole = Whole(baseline)
    whole.restore(donors, 5)
    table = whole._pipeline._shards[0]._tables["bench"]
    assert len(table) == 5
    assert set(table.columns.memory.held[:5].tolist()) == {TABLE_CAPACITY}
    own = Whole(baseline)
    own.restore(donors, 2)
    assert table.columns.admission.queries[4] == own._pipeline._shards[0]._tables["bench"].columns.admission.queries[0]


def test_figures_are_complete(baseline: Baseline, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A measurement has all subjects, ratios and memory, can be written as JSON, and is shown as a table."""
    case = measure_speed(baseline, warmed(baseline, TINY.few), Alternatives.warm(TINY), TINY, TINY.many, 1.1)
    found = {
        "cases": [case],
        "history": measure_history(baseline, TINY),
        "machine": bench_pipeline.machine(),
    }
    (tmp_path / "bench.json").write_text(json.dumps(found), encoding="utf-8")
    assert {"decode", "decode_small", "ingest", "whole", "naive", "prada"} == set(case["subjects"])
    assert all(subject["events_per_s"] > 0 for subject in case["subjects"].values())
    assert case["bytes_per_client"]["columns"] > 0
    show(found)
    assert "whole pipeline" in capsys.readouterr().out


def test_links_and_odometer_are_measured_beside_decoding(baseline: Baseline, capsys: pytest.CaptureFixture[str]) -> None:
    """Both have a cost, the organisations of the log are read, and without links or odometer nothing is."""
    found = bench_links.measure(baseline, bench_links.Size(clients=40, rounds=2, events=1200))
    assert set(found["costs"]) == {"links", "odometer"}
    assert found["costs"]["links"]["us"] > 0
    assert found["organizations_read"] > 0
    assert found["bytes_per_model"] > 0
    bench_links.show(found)
    assert "times decoding" in capsys.readouterr().out


def test_batches_of_every_size_have_a_price(baseline: Baseline, capsys: pytest.CaptureFixture[str]) -> None:
    """The pipeline and the engine have one each, beside decoding."""
    size = bench_batches.Size(clients=20, rounds=2, events=40)
    found = bench_batches.measure(baseline, warmed(baseline, 2), size)
    for prices in found["prices"].values():
        assert set(prices) == {"1", "10", "100", "1000"}
        assert all(price["to_decode"] > 0 for price in prices.values())
    bench_batches.show(found)
    assert "times decoding" in capsys.readouterr().out


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_format_holds_the_same_queries(subject: Subject) -> None:
    """What is measured reads the numbers of the log, and loses no query."""
    events = bench_formats.Entrant(subject.decoder(), subject.records(64, 4)).decode()[0]
    assert events == 64


def test_formats_are_measured_beside_the_native_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure is there, and the ratio of the native format to itself is 1."""
    found = bench_formats.measure(1, 4, "kserve")
    assert found[bench_formats.NATIVE]["ratio_to_native"] == 1
    assert all(figures["events_per_second"] > 0 for figures in found.values())
    bench_formats.show(found)
    assert "kserve" in capsys.readouterr().err
