"""Decisions from a file and from a snapshot, followed by a real thread."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from detector.clock import HeldClock
from detector.config import GateSection
from detector.contracts.decision import LADDER
from detector.errors import SnapshotError
from detector.gate import snapshot
from detector.gate.files import FileSource
from detector.gate.follow import Follower
from detector.gate.identity import Identity
from detector.gate.shelf import Shelf
from detector.gate.store import Store, Who
from tests.gate.decisions import NOW_MS, value


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def action(store: Store, client: str = "acme", model: str | None = "fraud") -> str:
    return LADDER[store.find(Who(client), model, NOW_MS).rank]


@pytest.fixture
def following(tmp_path: Path) -> Iterator[Callable[..., Shelf]]:
    threads: list[Follower] = []

    def start(**settings: object) -> Shelf:
        section = GateSection(**settings)
        shelf, clock = Shelf(), HeldClock(NOW_MS)
        source = FileSource(tmp_path / "decisions.jsonl", clock)
        threads.append(Follower(section, source, shelf, Identity(section), clock))
        threads[-1].start()
        return shelf

    yield start
    for thread in threads:
        thread.stop()


def test_a_file_is_read_and_followed(following: Callable[..., Shelf], tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    shelf = following()
    until(lambda: shelf.trouble is not None and "No such file" in shelf.trouble)
    assert not shelf.answers
    file.write_bytes(value() + b"\n")
    until(lambda: shelf.ready and action(shelf.store) == "block")
    with file.open("ab") as out:
        out.write(b"no decision\n\n" + value("b")[:40])
        out.flush()
        until(lambda: shelf.unusable == 1)
        assert action(shelf.store, "b") == "allow"
        out.write(value("b")[40:] + b"\n" + value(action="allow", revision=2) + b"\n")
    until(lambda: action(shelf.store, "b") == "block" and action(shelf.store) == "allow")


def test_a_file_that_is_replaced_or_cut_short_begins_anew(following: Callable[..., Shelf], tmp_path: Path) -> None:
    file, fresh = tmp_path / "decisions.jsonl", tmp_path / "fresh"
    file.write_bytes(value(revision=7) + b"\n")
    shelf = following()
    until(lambda: shelf.ready and action(shelf.store) == "block")
    fresh.write_bytes(value("acme", "alert", revision=1) + b"\n")
    fresh.replace(file)
    until(lambda: action(shelf.store) == "alert")
    file.write_bytes(b"")
    until(lambda: len(shelf.store) == 0)
    file.unlink()
    until(lambda: shelf.trouble is not None)
    assert shelf.ready, "what is known stays in force"


def test_a_snapshot_answers_while_the_source_is_away(following: Callable[..., Shelf], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    snapshot.save(_store(), kept)
    shelf = following(snapshot_file=kept)
    assert shelf.answers
    until(lambda: shelf.ready)
    assert action(shelf.store) == "block"
    (tmp_path / "decisions.jsonl").write_bytes(value("b") + b"\n")
    until(lambda: action(shelf.store, "b") == "block")
    assert action(shelf.store) == "allow", "the source knows better"


def test_a_gate_that_ends_leaves_a_snapshot(following: Callable[..., Shelf], tmp_path: Path) -> None:
    (tmp_path / "decisions.jsonl").write_bytes(value() + b"\n")
    shelf = following(snapshot_file=tmp_path / "kept", snapshot_seconds=1)
    until((tmp_path / "kept").exists)
    assert shelf.ready
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    found = snapshot.load(tmp_path / "kept")
    assert found is not None
    assert action(found) == "block"


def _store() -> Store:
    store, shelf = Store(), Shelf()
    for each in (
        value(),
        value("m", models=("a:b", "c*", "d,e", "50%")),
        value("t", "throttle", rate=7, routes=("/x",), models=None),
        value("h", "alert", origin="manual", expires_ms=None),
        value("o", kind="organization", models=None),
        value("f", address="2001:db8::/64", models=None),
        value("s", simulated=True),
    ):
        assert shelf.take(store, None, each, NOW_MS)
    return store


def test_a_snapshot_is_what_was_saved(tmp_path: Path) -> None:
    store = _store()
    assert snapshot.save(store, tmp_path / "kept") == 7
    found = snapshot.load(tmp_path / "kept")
    assert found is not None
    assert dict(found.revisions()) == dict(store.revisions())
    for who in (Who("acme"), Who("m"), Who("t"), Who("h"), Who("x", "o"), Who("f", network="2001:db8::/64"), Who("s")):
        for model in ("fraud", "a:b", "c*", "d,e", "50%", "other", None):
            for path in ("/x/y", "/z"):
                assert found.find(who, model, NOW_MS, path) == store.find(who, model, NOW_MS, path)


def test_a_snapshot_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    assert snapshot.load(file) is None
    snapshot.save(_store(), file)
    whole = file.read_bytes()
    for bad, why in (
        (whole[: len(whole) // 2], "cut off"),
        (b"", "another version"),
        (whole.replace(b"detector-gate 1", b"detector-gate 2"), "another version"),
        (whole.replace(b"acme\\u0000fraud", b"acme"), "damaged"),
    ):
        file.write_bytes(bad)
        with pytest.raises(SnapshotError, match=why):
            snapshot.load(file)
    if os.geteuid() == 0:
        return
    file.chmod(0)
    with pytest.raises(SnapshotError, match="Permission"):
        snapshot.load(file)
