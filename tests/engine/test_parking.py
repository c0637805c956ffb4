"""Suspects beyond the bound are parked: nothing of what is found depends on it, and nothing is lost."""

import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.findings import Finding, Outputs, PendingDecision, Report
from detector.engine.links.sketch import Sketches
from detector.engine.parking import InMemory, Parked
from detector.engine.shard import EngineSettings, Shard
from detector.errors import OutputError
from detector.spill import SpillFile
from detector.testing import Events, batches

PUPPETS = 1500
Drive = Callable[..., dict[str, bytes]]


def puppets(count: int, queries: int, rng: np.random.Generator, *, again: int = 0) -> list[bytes]:
    """Return the log of clients that each search for the boundary, one after the other; `again` queries each once all are done.

    So every client is a suspect when the next one comes, and returns when all others have come since.
    """
    events = Events("alpha", step_ms=5)
    lines = []
    ends = [[0.3 * rng.random(9), 0.7 + 0.3 * rng.random(9)] for _ in range(count)]
    for number, search in enumerate(ends):
        lines += [events.line(f"puppet-{number}", x, label) for label, x in enumerate(search)]
        lines += [halved(events, number, search) for _ in range(queries - 2)]
    lines += [halved(events, number, search) for number, search in enumerate(ends) for _ in range(again)]
    return lines


def halved(events: Events, number: int, search: list[Any]) -> bytes:
    x = (search[0] + search[1]) / 2
    label = int(x.sum() > 4.5)
    search[label] = x
    return events.line(f"puppet-{number}", x, label)


def run(shard: Shard, lines: list[bytes], most: int, size: int = 500) -> Outputs:
    """Process a log, looking after every piece that no more than `most` clients are held."""
    total = Outputs()
    for start in range(0, len(lines), size):
        total.add(shard.process(*batches(lines[start : start + size], first_sequence=start)))
        assert shard.clients <= most
    return total


def found(shard: Shard, outputs: Outputs) -> tuple[list[Finding], list[PendingDecision], list[Report]]:
    """Return alerts, decisions, and every client as it stood last, wherever it was."""
    clients = [replace(report, emitted=-1) for report in [*outputs.departed, *shard.reports()]]
    return outputs.findings, outputs.pending_decisions, sorted(clients, key=lambda report: report.client)


def columns_of(sketches: Sketches) -> dict[str, Any]:
    """Return the columns, arrays as bytes, so that they can be compared."""
    columns = {column.name: getattr(sketches, column.name) for column in fields(sketches)}
    return {name: values.tobytes() if isinstance(values, np.ndarray) else values for name, values in columns.items()}


def test_sock_puppets_are_bounded_and_nothing_of_them_is_lost(generated_baseline: Baseline) -> None:
    """Fifteen hundred suspects at 256 places: the alerts, decisions and evidence of 10,000 places, when they return as well."""
    lines = puppets(PUPPETS, 16, np.random.default_rng(3), again=3)
    small = Shard(EngineSettings(max_clients=256), generated_baseline.models, parked=SpillFile())
    large = Shard(EngineSettings(max_clients=10_000), generated_baseline.models)
    few, all_ = run(small, lines, 256), run(large, lines, PUPPETS)
    assert large.clients == PUPPETS
    assert small.parked >= PUPPETS - 256
    assert len(all_.pending_decisions) >= PUPPETS
    assert not few.departed
    assert found(small, few) == found(large, all_)
    assert len({report.client for report in small.reports()}) == PUPPETS
    assert all(report.queries == 19 for report in small.reports())


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(2, 9), st.lists(st.integers(1, 400), max_size=6))
def test_parking_survives_restarts(
    benign: Callable[[], Baseline], drive: Drive, seed: int, room: int, restarts: list[int]
) -> None:
    """Wherever a shard is saved, all of it or what changed, the next one goes on as if nothing had happened."""
    rng = np.random.default_rng(seed)
    lines = puppets(12, 12, rng, again=4)
    flood = Events("alpha", step_ms=1, start_ms=1_700_000_000_000)
    for _ in range(200):
        lines.insert(int(rng.integers(len(lines))), flood.line(f"flood-{flood.count}", rng.random(9), 0))
    engine = EngineSettings(max_clients=room)
    known = benign().models
    at = [place for place in restarts if place < len(lines)]
    cuts = [int(place) for place in rng.integers(1, len(lines), 5)]
    straight = drive(lines, engine, known)
    assert drive(lines, engine, known, cuts=cuts, restarts=at) == straight
    assert drive(lines, engine, known, cuts=cuts, restarts=at, compacted=True) == straight


def test_a_shard_restored_holds_and_parks_whom_its_predecessor_did(generated_baseline: Baseline) -> None:
    """Both shards then save the same bytes, and only what changed."""
    engine = EngineSettings(max_clients=8)
    lines = puppets(40, 12, np.random.default_rng(1), again=3)
    first = Shard(engine, generated_baseline.models)
    topic: dict[tuple[str, str], bytes] = {}
    for start in range(0, 480, 48):
        first.process(*batches(lines[start : start + 48], first_sequence=start))
        changes = first.snapshot(changed_only=True)
        assert all(changes.values())  # no suspect is deleted from a compacted topic
        assert len(changes) <= 1 + 5  # 48 queries are four clients' or, cut within, five
        topic |= changes
    assert topic == first.snapshot()
    second = Shard(engine, generated_baseline.models, parked=SpillFile())
    second.restore(topic)
    assert (second.clients, second.parked) == (first.clients, first.parked)
    assert second.snapshot() == topic
    assert list(second.reports()) == list(first.reports())
    rest = batches(lines[480:], first_sequence=480)
    last, former = second.process(*rest), first.process(*rest)
    assert replace(last, sketches=[]) == replace(former, sketches=[])
    assert [columns_of(part) for part in last.sketches] == [columns_of(part) for part in former.sketches]


def test_names_are_kept_for_a_checkpoint_only_where_there_was_one(generated_baseline: Baseline) -> None:
    """A flood of clients that no checkpoint has seen leaves nothing behind, whether or not checkpoints are made."""
    rng = np.random.default_rng(1)
    events = Events("alpha")
    shard = Shard(EngineSettings(max_clients=16), generated_baseline.models)
    shard.process(*batches([events.line(f"early-{i}", rng.random(9), 0) for i in range(16)]))
    shard.process(*batches([events.line(f"a-{i}", rng.random(9), 0) for i in range(500)], first_sequence=16))
    table = shard._tables["alpha"]
    assert not table._slots.forgotten
    shard.snapshot(changed_only=True)
    shard.process(*batches([events.line(f"b-{i}", rng.random(9), 0) for i in range(500)], first_sequence=600))
    assert 0 < len(table._slots.forgotten) <= 16
    assert all(client.startswith("a-") for client in table._slots.forgotten)


def test_what_is_drawn_for_a_client_needs_the_secret(generated_baseline: Baseline) -> None:
    """Somebody who has the program but not the seed cannot compute the keys of ids, or choose ids that collide."""
    codes = set()
    for seed in (1, 2, None):
        shard = Shard(EngineSettings(seed=seed), generated_baseline.models)
        shard.process(*batches([Events("alpha").line("client", np.zeros(9), 0)]))
        codes.add(int(shard._tables["alpha"]._slots.seed[0]))
    assert len(codes) == 3


@pytest.mark.parametrize("make", [InMemory, SpillFile, lambda: SpillFile(slack=0)])
@given(st.lists(st.tuples(st.sampled_from("mn"), st.integers(0, 5), st.none() | st.binary(max_size=300)), max_size=60))
def test_a_store_is_a_dictionary(make: Callable[[], Parked], steps: list[tuple[str, int, bytes | None]]) -> None:
    """Whatever is put and taken, in whatever order: what was put last is there, once."""
    store, model = make(), dict[tuple[str, str], bytes]()
    for name, number, data in steps:
        client = f"c{number}"
        if data is None:
            assert store.take(name, client) == model.pop((name, client), None)
        else:
            store.put(name, client, data)
            model[name, client] = data
        assert len(store) == len(model)
        for (owner, kept), content in model.items():
            assert store.read(owner, kept) == content
        assert {(owner, kept) for owner in "mn" for kept in store.clients(owner)} == set(model)


def test_the_file_does_not_grow_with_what_was_taken() -> None:
    """A client that is parked again and again needs room once."""
    made: list[BinaryIO] = []

    def make() -> BinaryIO:
        made.append(tempfile.TemporaryFile())  # noqa: SIM115  # the store closes it
        return made[-1]

    store = SpillFile(make, slack=10_000)
    store.put("m", "other", bytes(1000))
    for turn in range(500):
        store.put("m", "client", bytes([turn % 256]) * 1000)
        assert os.fstat(made[-1].fileno()).st_size <= 2 * 2000 + 10_000 + 1000
        assert store.take("m", "client") == bytes([turn % 256]) * 1000
    assert store.read("m", "other") == bytes(1000)


def test_the_file_is_private_and_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else can open it, under whatever mask, and nothing is left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = os.umask(0)
    try:
        store = SpillFile()
        store.put("m", "client", b"secret")
        assert store._file is not None
        assert stat.S_IMODE(os.fstat(store._file.fileno()).st_mode) & 0o077 == 0
        assert list(tmp_path.iterdir()) == []
    finally:
        os.umask(before)


def test_a_full_disk_is_told_with_what_to_do() -> None:
    """The sentence names the folder's variable and the setting."""
    store = SpillFile(lambda: Path("/dev/full").open("r+b", buffering=0))  # noqa: SIM115
    with pytest.raises(OutputError, match=r"No space left.*TMPDIR.*max_clients"):
        store.put("m", "client", b"snapshot")
