"""Saved state: compact, checked, and refused where it would be read with another meaning."""

from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.shard import SHARD_KEY, VERSIONS_KEY, EngineSettings, Shard
from detector.engine.state import SNAPSHOT_VERSION
from detector.errors import SnapshotError
from detector.testing import Events, batches

Lines = Callable[..., list[bytes]]
Saved = dict[tuple[str, str], bytes]


@pytest.fixture(scope="module")
def saved(make_log: Lines, generated_baseline: Baseline) -> Saved:
    """Return the state of a shard that watches one model with a baseline, learned one, and is learning a third."""
    shard = Shard(EngineSettings(learning_events=60), generated_baseline.models)
    for lines in (make_log(1), make_log(1, models=("learned",)), make_log(1, models=("waiting",), events=50)):
        shard.process(*batches(lines))
    assert shard.learning
    return shard.snapshot()


@pytest.fixture(scope="module")
def kept(saved: Saved) -> Callable[[], Saved]:
    """Return a function that returns `saved`, for hypothesis, which prints its arguments."""
    return lambda: saved


def fresh(baseline: Baseline) -> Shard:
    return Shard(EngineSettings(learning_events=60), baseline.models)


def only(saved: Saved, model: str) -> Saved:
    return {key: value for key, value in saved.items() if key[0] == model}


def test_a_snapshot_of_a_snapshot_is_the_same(saved: Saved, generated_baseline: Baseline) -> None:
    """Restored state saves to the same bytes, whatever the order it was restored in."""
    shard = fresh(generated_baseline)
    shard.restore(saved)
    assert shard.snapshot() == saved
    backwards = fresh(generated_baseline)
    backwards.restore(dict(reversed(saved.items())))
    assert backwards.snapshot() == saved


def test_only_what_changed_is_saved_again(make_log: Lines, generated_baseline: Baseline) -> None:
    """After a checkpoint, the next one holds the clients seen since, and the model's own part."""
    shard = fresh(generated_baseline)
    shard.process(*batches(make_log(1)))
    assert len(shard.snapshot(changed_only=True)) == 7
    assert set(shard.snapshot(changed_only=True)) == {("alpha", SHARD_KEY)}
    events = Events("alpha", start_ms=1_800_000_000_000)
    shard.process(*batches([events.line("client-3", np.zeros(9), 0)], first_sequence=1000))
    assert set(shard.snapshot(changed_only=True)) == {("alpha", SHARD_KEY), ("alpha", "client-3")}


def test_a_forgotten_client_leaves_a_tombstone(generated_baseline: Baseline) -> None:
    """A compacted topic must not bring back who was forgotten; who returns before the checkpoint has its new state.

    Who came and was forgotten between two checkpoints was never in the topic.
    """
    events = Events("alpha")
    rng = np.random.default_rng(1)
    shard = Shard(EngineSettings(max_clients=2), generated_baseline.models)
    shard.process(*batches([events.line(client, rng.random(9), 0) for client in ("a", "b")]))
    shard.snapshot(changed_only=True)
    shard.process(*batches([events.line(client, rng.random(9), 0) for client in ("c", "d", "a")], first_sequence=10))
    changes = shard.snapshot(changed_only=True)
    assert {client: bool(data) for (_, client), data in changes.items() if client} == {
        "a": True,
        "b": False,
        "d": True,
    }
    again = Shard(EngineSettings(max_clients=2), generated_baseline.models)
    again.restore(changes)
    assert sorted(report.client for report in again.reports()) == ["a", "d"]


def test_a_young_client_takes_little_room(generated_baseline: Baseline) -> None:
    """Places of the memory that are still empty are not saved."""
    events = Events("alpha")
    rng = np.random.default_rng(1)
    shard = fresh(generated_baseline)
    asked = ["young"] * 2 + ["old"] * 300
    shard.process(*batches([events.line(client, rng.random(9), 0) for client in asked]))
    saved = shard.snapshot()
    assert len(saved["alpha", "young"]) < 3_280
    assert len(saved["alpha", "young"]) < 0.4 * len(saved["alpha", "old"])
    assert len(saved["alpha", "old"]) < 16_000


def test_another_baseline_is_refused(saved: Saved, generated_baseline: Baseline, digits_baseline: Baseline) -> None:
    """Memory of queries has no meaning under another reference, under none, or under one that came later."""
    other = {"alpha": digits_baseline.models["digits"]}
    with pytest.raises(SnapshotError, match="under another baseline"):
        Shard(EngineSettings(), other).restore(only(saved, "alpha"))
    with pytest.raises(SnapshotError, match="needs the baseline"):
        Shard(EngineSettings()).restore(only(saved, "alpha"))
    for model in ("learned", "waiting"):
        with pytest.raises(SnapshotError, match="without a baseline, and now there is one"):
            Shard(EngineSettings(), {model: generated_baseline.models["alpha"]}).restore(only(saved, model))


def test_another_version_is_refused(saved: Saved, generated_baseline: Baseline) -> None:
    """The message says which format is there, and which one is read."""
    for key in (("alpha", "client-0"), ("alpha", SHARD_KEY)):
        content = msgspec.msgpack.decode(saved[key])
        content[0] = SNAPSHOT_VERSION + 1
        changed = saved | {key: msgspec.msgpack.encode(content)}
        with pytest.raises(SnapshotError, match=f"format {SNAPSHOT_VERSION + 1}, this version reads format {SNAPSHOT_VERSION}"):
            fresh(generated_baseline).restore(changed)


def test_another_layout_is_refused(saved: Saved, generated_baseline: Baseline) -> None:
    """Rows of other columns are not read as these."""
    key = ("alpha", "client-0")
    content = msgspec.msgpack.decode(saved[key])
    content[1] = "0" * 16
    with pytest.raises(SnapshotError, match="another layout"):
        fresh(generated_baseline).restore(saved | {key: msgspec.msgpack.encode(content)})


def test_a_client_of_another_model_is_refused(saved: Saved, generated_baseline: Baseline) -> None:
    """A value under the wrong key is found."""
    content = msgspec.msgpack.decode(saved["alpha", "client-0"])
    content[3] = "beta"
    with pytest.raises(SnapshotError, match="of model 'beta', not 'alpha'"):
        fresh(generated_baseline).restore(saved | {("alpha", "client-0"): msgspec.msgpack.encode(content)})


def test_a_client_without_its_model_is_refused(saved: Saved, generated_baseline: Baseline) -> None:
    """State that lacks the model's own part is not complete."""
    part = {key: value for key, value in saved.items() if key[1] != SHARD_KEY}
    with pytest.raises(SnapshotError, match="lacks the part of the model"):
        fresh(generated_baseline).restore(part)


@settings(max_examples=20)
@given(
    st.sampled_from([("alpha", "client-0"), ("alpha", SHARD_KEY), ("learned", SHARD_KEY), ("waiting", VERSIONS_KEY)]),
    st.sampled_from(["cut", "longer", "noise", "flip"]),
    st.integers(0, 10**6),
    st.binary(min_size=1, max_size=40),
)
def test_damaged_bytes_never_raise_anything_else(
    kept: Callable[[], Saved], benign: Callable[[], Baseline], key: tuple[str, str], how: str, where: int, noise: bytes
) -> None:
    """Cut, prolonged, replaced, or a byte changed: refused as a snapshot error, or read where the damage hit figures only."""
    saved = kept()
    data = saved[key]
    at = where % len(data)
    damaged = {
        "cut": data[:at],
        "longer": data + noise,
        "noise": noise,
        "flip": data[:at] + bytes([data[at] ^ noise[0]]) + data[at + 1 :],
    }[how]
    shard = fresh(benign())
    if how == "flip" or not damaged:
        try:
            shard.restore(saved | {key: damaged})
        except SnapshotError:
            return
    else:
        with pytest.raises(SnapshotError):
            shard.restore(saved | {key: damaged})


@pytest.mark.parametrize(
    "content", [{}, {"trees": {}}, {"waiting": [{}]}, {"waiting": 5}, {"trees": {"low": 3}}, {"reference": {}}]
)
def test_a_well_formed_part_of_other_content_is_refused(
    saved: Saved, generated_baseline: Baseline, content: dict[str, object]
) -> None:
    """What is valid MessagePack and of the right version may still be none of ours."""
    for model in ("alpha", "learned"):
        data = msgspec.msgpack.encode([SNAPSHOT_VERSION, content])
        with pytest.raises(SnapshotError):
            fresh(generated_baseline).restore(only(saved, model) | {(model, SHARD_KEY): data})
