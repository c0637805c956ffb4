"""State that somebody has forged under a seal that fits: it is refused, or it is processed, and no kernel leaves its arrays.

`test_kernels` runs these with bounds checked, where a kernel that reads beyond an array raises `IndexError`.
"""

import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from detector.baseline.store import Baseline
from detector.engine.evidence.children import NUMBERS
from detector.engine.evidence.cooccur import BINS
from detector.engine.evidence.noise import TERMS
from detector.engine.evidence.remote import LEAST_SAMPLES, VIEWS
from detector.engine.memory.reservoir import COORDINATES, SAMPLED
from detector.engine.models.reference import ALWAYS, NO_LEADING
from detector.engine.saved import check_reference
from detector.engine.shard import SHARD_KEY, VERSIONS_KEY, EngineSettings, Shard
from detector.engine.state import SNAPSHOT_VERSION, ClientSnapshot, dump
from detector.errors import BaselineError, SnapshotError
from detector.testing import batches

Saved = dict[tuple[str, str], bytes]
ROUNDS = 60
USUAL = np.ones((VIEWS, 2), np.float32)
LEADING = np.eye(SAMPLED, 2, dtype=np.float32)
EXTREMES: dict[str, list[float]] = {
    "u": [0, 1, 2, 7, 12, 13, 24, 63, 64, 65, 250, 255, 65_535, 2**32 - 1, 2**64 - 1],
    "i": [0, -1, 1, 255, -(2**15), 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 10**14],
    "f": [0.0, -1.0, 1e-45, 1e38, -1e38, np.nan, np.inf, -np.inf],
}


@pytest.fixture(scope="module")
def settings() -> EngineSettings:
    """Return settings under which a model is learned soon."""
    return EngineSettings(learning_events=24, lateness_ms=3_600_000)


@pytest.fixture(scope="module")
def shards(settings: EngineSettings, generated_baseline: Baseline) -> Callable[[], Shard]:
    """Return a maker of empty shards that know the model "alpha"."""
    return lambda: Shard(settings, generated_baseline.models)


@pytest.fixture(scope="module")
def logs(make_log: Callable[..., list[bytes]]) -> tuple[list[bytes], list[bytes]]:
    """Return what came before the state was saved, and what comes after: a known model, a learned one, and wide inputs."""
    before = make_log(5, events=260, models=("alpha", "learned")) + make_log(6, events=120, models=("wide",), dimension=70)
    after = make_log(7, events=80, models=("alpha", "learned")) + make_log(8, events=60, models=("wide",), dimension=70)
    return before, after


@pytest.fixture(scope="module")
def saved(shards: Callable[[], Shard], logs: tuple[list[bytes], list[bytes]]) -> Saved:
    """Return true state, with a model that still waits in it."""
    shard = shards()
    shard.process(*batches(logs[0]))
    return shard.snapshot()


def _mutated(rng: np.random.Generator, array: np.ndarray[Any, Any]) -> None:
    """Write extremes, or noise, over some numbers of an array."""
    values = array.reshape(-1)
    if values.size == 0:
        return
    some = rng.integers(values.size, size=1 if rng.random() < 0.5 else values.size)
    if rng.random() < 0.7:
        with np.errstate(all="ignore"):
            chosen = EXTREMES[array.dtype.kind][int(rng.integers(len(EXTREMES[array.dtype.kind])))]
            limits = np.iinfo(array.dtype) if array.dtype.kind in "ui" else None
            values[some] = chosen if limits is None else min(max(int(chosen), int(limits.min)), int(limits.max))
    else:
        values[some] = np.frombuffer(rng.bytes(len(some) * array.itemsize), array.dtype)


def _forged_client(rng: np.random.Generator, shard: Shard, data: bytes) -> bytes:
    """Change some columns of a client's row, as if its check sum had always been so."""
    snapshot = msgspec.msgpack.decode(data, type=ClientSnapshot)
    columns = shard._tables[snapshot.model].columns
    held = int.from_bytes(snapshot.row[:2], "little")
    row = np.frombuffer(bytearray(snapshot.row), columns._packed(held))
    names = row.dtype.names or ()
    for name in rng.choice(names, size=int(rng.integers(1, 4))):
        field = row[str(name)].copy()
        _mutated(rng, field)
        row[str(name)] = field
    changed = row.tobytes()
    return dump(msgspec.structs.replace(snapshot, row=changed, check=zlib.crc32(changed)))


def _forged_part(rng: np.random.Generator, packed: Any) -> Any:
    """Change something in what belongs to a model: a number, a kind, a shape, or the structure itself."""
    if isinstance(packed, dict) and packed:
        name = sorted(packed)[int(rng.integers(len(packed)))]
        return packed | {name: _forged_part(rng, packed[name])}
    if isinstance(packed, list) and len(packed) == 3 and isinstance(packed[2], bytes):
        kind, shape, content = packed
        choice = rng.integers(4)
        if choice == 0:
            return [["|O", "<f8", "<i4", "|V8", "<U2", "i4,i4", "(3,)f4", 5][int(rng.integers(8))], shape, content]
        if choice == 1:
            return [kind, [[0], [-1], [1] * 40, [2**40, 2**40], [len(content)], []][int(rng.integers(6))], content]
        array = np.frombuffer(bytearray(content), kind)
        if array.dtype.kind in EXTREMES:
            _mutated(rng, array)
        return [kind, shape, array.tobytes()]
    if isinstance(packed, list) and packed:
        at = int(rng.integers(len(packed)))
        return [*packed[:at], _forged_part(rng, packed[at]), *packed[at + 1 :]]
    return [None, 5, -1, "x", [], {}, 2**63 - 1][int(rng.integers(7))]


def _goes_on(victim: Shard, forged: Saved, lines: list[bytes]) -> bool:
    """Return whether a shard takes forged state over, and processes and saves with it; False where it refuses it."""
    try:
        victim.restore(forged)
    except SnapshotError:
        return False
    with np.errstate(all="ignore"):
        victim.process(*batches(lines))
    victim.snapshot()
    return True


def test_forged_clients(shards: Callable[[], Shard], saved: Saved, logs: tuple[list[bytes], list[bytes]]) -> None:
    """Extremes and noise in a client's columns are refused, or the client goes on with them."""
    rng = np.random.default_rng(3)
    shard = shards()
    shard.restore(saved)
    clients = [key for key in sorted(saved) if key[1] not in {SHARD_KEY, VERSIONS_KEY}]
    refused = 0
    for _ in range(ROUNDS):
        forged = dict(saved)
        for i in rng.integers(len(clients), size=2):
            forged[clients[i]] = _forged_client(rng, shard, saved[clients[i]])
        refused += not _goes_on(shards(), forged, logs[1])
    assert 0 < refused < ROUNDS


def test_forged_parts_of_models(shards: Callable[[], Shard], saved: Saved, logs: tuple[list[bytes], list[bytes]]) -> None:
    """Whatever a model's own part is changed into is refused, or the model goes on with it."""
    rng = np.random.default_rng(4)
    models = [key for key in sorted(saved) if key[1] == SHARD_KEY]
    assert len(models) == 3
    refused = 0
    for _ in range(ROUNDS):
        key = models[int(rng.integers(len(models)))]
        _, content = msgspec.msgpack.decode(saved[key])
        forged = saved | {key: msgspec.msgpack.encode([SNAPSHOT_VERSION, _forged_part(rng, content)])}
        refused += not _goes_on(shards(), forged, logs[1])
    assert 0 < refused < ROUNDS


def test_forged_events_that_wait(shards: Callable[[], Shard], make_log: Callable[..., list[bytes]]) -> None:
    """Events that wait for their model are no better trusted than those that come in."""
    rng = np.random.default_rng(5)
    shard = shards()
    shard.process(*batches(make_log(9, events=20, models=("waiting",), repeats=0.0)))
    saved = shard.snapshot()
    key = ("waiting", VERSIONS_KEY)
    refused = 0
    for _ in range(ROUNDS):
        _, content = msgspec.msgpack.decode(saved[key])
        victim = shards()
        try:
            victim.restore({key: msgspec.msgpack.encode([SNAPSHOT_VERSION, _forged_part(rng, content)])})
        except SnapshotError:
            refused += 1
            continue
        with np.errstate(all="ignore"), suppress(BaselineError):  # there may be nothing to learn from them
            victim.process(*batches(make_log(10, events=40, models=("waiting",))))
    assert 0 < refused < ROUNDS


@pytest.mark.parametrize(
    "forged",
    [
        {"leading": np.zeros((SAMPLED - 1, 2), np.float32)},
        {"leading": np.zeros((SAMPLED, SAMPLED + 1), np.float32)},
        {"leading": np.zeros((SAMPLED, 2))},
        {"leading": np.full((SAMPLED, 2), np.nan, np.float32)},
        {"turning": 0.0 * ALWAYS},
        {"turning": 2.0 * ALWAYS},
        {"stray_spread": 0.0},
        {"blurs": np.zeros(COORDINATES, np.float32)},
        {"blurs": np.ones(COORDINATES - 1, np.float32)},
        {"rounding": 0.0},
        {"numbers": NUMBERS + 1},
        {"noise": np.zeros((1, TERMS))},
        {"noise": np.zeros((1, TERMS + 1))},
        {"drawn_parent": np.zeros(1, np.int32)},
        {"drawn_belong": np.zeros((1, BINS, BINS), np.float32)},
        {"sights": np.ones((4, 2), np.float32)},
        {"remote": USUAL, "leading": NO_LEADING},
        {"remote": USUAL, "leading": LEADING, "measured": LEAST_SAMPLES - 1},
        {"remote": 0.0 * USUAL, "leading": LEADING, "measured": SAMPLED},
        {"remote": np.where([[True, False]] * VIEWS, USUAL, np.nan).astype(np.float32), "leading": LEADING},
        {"remote": np.where([[True, False]] * VIEWS, np.inf, USUAL).astype(np.float32), "leading": LEADING},
    ],
)
def test_forged_yardsticks_of_channels(generated_baseline: Baseline, forged: dict[str, Any]) -> None:
    """Kernels index by these without a check, or divide by them: the true ones pass, all others are refused."""
    true = generated_baseline.models["alpha"].reference
    assert check_reference(true) is true
    with pytest.raises(SnapshotError):
        check_reference(replace(true, **forged))
