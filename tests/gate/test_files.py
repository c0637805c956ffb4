"""Decisions from a file and from a snapshot, followed by a real thread."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from detector.clock import HeldClock
from detector.config import GateSection
from detector.contracts.decision import LADDER
from detector.errors import SnapshotError
from detector.gate import files, follow, snapshot
from detector.gate.files import FileSource
from detector.gate.follow import Follower
from detector.gate.identity import Identity
from detector.gate.shelf import Shelf
from detector.gate.store import Store, Who
from tests.gate.decisions import NOW_MS, value
from tests.waiting import wait_for


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
    wait_for(lambda: shelf.trouble is not None and "No such file" in shelf.trouble)
    assert not shelf.answers
    file.write_bytes(value() + b"\n")
    wait_for(lambda: shelf.ready and action(shelf.store) == "block")
    with file.open("ab") as out:
        out.write(b"no decision\n\n" + value("b")[:40])
        out.flush()
        wait_for(lambda: shelf.unusable == 1)
        assert action(shelf.store, "b") == "allow"
        out.write(value("b")[40:] + b"\n" + value(action="allow", revision=2) + b"\n")
    wait_for(lambda: action(shelf.store, "b") == "block" and action(shelf.store) == "allow")


def test_a_file_that_is_replaced_or_cut_short_begins_anew(following: Callable[..., Shelf], tmp_path: Path) -> None:
    file, fresh = tmp_path / "decisions.jsonl", tmp_path / "fresh"
    file.write_bytes(value(revision=7) + b"\n")
    shelf = following()
    wait_for(lambda: shelf.ready and action(shelf.store) == "block")
    fresh.write_bytes(value("acme", "alert", revision=1) + b"\n")
    fresh.replace(file)
    wait_for(lambda: action(shelf.store) == "alert")
    file.write_bytes(b"")
    wait_for(lambda: len(shelf.store) == 0)
    file.unlink()
    wait_for(lambda: shelf.trouble is not None)
    assert shelf.ready, "what is known stays in force"


@pytest.mark.parametrize("more", [0, 3])
def test_a_file_that_is_rewritten_in_place_begins_anew(following: Callable[..., Shelf], tmp_path: Path, more: int) -> None:
    """Also where it is as long as it was, or longer."""
    file = tmp_path / "decisions.jsonl"
    file.write_bytes(value("old1") + b"\n")
    shelf = following()
    wait_for(lambda: shelf.ready and action(shelf.store, "old1") == "block")
    with file.open("r+b") as out:
        out.write(b"".join(value(client) + b"\n" for client in ["new1", "b", "c", "d"][: 1 + more]))
    wait_for(lambda: action(shelf.store, "new1") == "block")
    assert action(shelf.store, "old1") == "allow"
    assert len(shelf.store) == 1 + more
    assert shelf.unusable == 0


@pytest.mark.parametrize("moves_when", ["before the size is asked", "after it"])
def test_what_is_appended_just_before_the_file_is_moved_is_read(tmp_path: Path, moves_when: str, monkeypatch: Any) -> None:
    file, shelf, clock = tmp_path / "decisions.jsonl", Shelf(), HeldClock(NOW_MS)
    file.write_bytes(value() + b"\n")

    def move() -> None:
        with file.open("ab") as out:
            out.write(value("late") + b"\n")
        file.rename(tmp_path / "decisions.1")

    ticks: Iterator[Callable[[], object]]
    if moves_when == "after it":
        asked = files._Growing.is_another

        def is_another(growing: files._Growing, path: Path) -> bool:
            if path.exists():
                move()
            return asked(growing, path)

        monkeypatch.setattr(files._Growing, "is_another", is_another)
        ticks = iter([])
    else:
        ticks = iter([lambda: None, lambda: None, move])

    def tick() -> bool:
        next(ticks, lambda: None)()
        return False

    FileSource(file, clock).follow(shelf, tick)
    assert action(shelf.store, "late") == "block"


def test_a_sweep_that_fails_ends_nothing(following: Callable[..., Shelf], tmp_path: Path, monkeypatch: Any) -> None:
    """Decisions are followed all the same, and sweeping is tried again when it is due, not at once."""
    swept: list[int] = []

    def fail(_: Store, now_ms: int) -> NoReturn:
        swept.append(now_ms)
        raise ValueError("no key of a decision")

    file = tmp_path / "decisions.jsonl"
    file.write_bytes(value() + b"\n")
    shelf = following()
    wait_for(lambda: shelf.ready)
    monkeypatch.setattr(Store, "sweep", fail)
    monkeypatch.setattr(follow, "SWEEP_S", 0.2)
    wait_for(lambda: len(swept) >= 2)
    with file.open("ab") as out:
        out.write(value("b") + b"\n")
    wait_for(lambda: action(shelf.store, "b") == "block")
    assert shelf.trouble is None
    file.unlink()
    wait_for(lambda: shelf.trouble is not None and len(swept) >= 6)
    assert len(swept) < 60
    file.write_bytes(value("c") + b"\n")
    monkeypatch.undo()
    wait_for(lambda: action(shelf.store, "c") == "block")


def test_a_snapshot_answers_while_the_source_is_away(following: Callable[..., Shelf], tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    snapshot.save(_store(), kept)
    shelf = following(snapshot_file=kept)
    assert shelf.answers
    wait_for(lambda: shelf.ready)
    assert action(shelf.store) == "block"
    (tmp_path / "decisions.jsonl").write_bytes(value("b") + b"\n")
    wait_for(lambda: action(shelf.store, "b") == "block")
    assert action(shelf.store) == "allow", "the source knows better"


def test_a_gate_that_ends_leaves_a_snapshot(following: Callable[..., Shelf], tmp_path: Path) -> None:
    (tmp_path / "decisions.jsonl").write_bytes(value() + b"\n")
    shelf = following(snapshot_file=tmp_path / "kept", snapshot_seconds=1)
    wait_for((tmp_path / "kept").exists)
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
        value("n", models=("a\0b",)),
    ):
        assert shelf.take(store, None, each, NOW_MS)
    return store


def test_a_snapshot_is_what_was_saved(tmp_path: Path) -> None:
    store = _store()
    assert snapshot.save(store, tmp_path / "kept") == 8
    found = snapshot.load(tmp_path / "kept")
    assert found is not None
    assert dict(found.revisions()) == dict(store.revisions())
    for who in (
        Who("acme"),
        Who("m"),
        Who("t"),
        Who("h"),
        Who("x", "o"),
        Who("f", network="2001:db8::/64"),
        Who("s"),
        Who("n"),
    ):
        for model in ("fraud", "a\0b", "a:b", "c*", "d,e", "50%", "other", None):
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
        (whole.replace(b"detector-gate 2", b"detector-gate 1"), "another version"),
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
