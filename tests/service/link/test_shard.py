"""The order of sketches, repeats and limits: what a linker is given depends on the queries topic alone."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.engine.policy import PolicySettings
from detector.errors import SnapshotError
from detector.service.kafka.sketches import PlacedSketches, Progress
from detector.service.link import queue
from detector.service.link.arrivals import AHEAD_MS, PATIENCE_MS, SLACK_MS
from detector.service.link.shard import ARRIVALS, Entry, Linked, LinkShard
from tests.service.link.drawn import BEGIN, SOURCE, Recorder, cut, placed, sketches

PARTITIONS = 3


class Rig:
    """A shard whose linkers are remembered."""

    def __init__(self) -> None:
        self.linkers: dict[str, Recorder] = {}
        self.shard = LinkShard({"m": "ref", "other": "ref"}, self._linker)

    def _linker(self, model: str) -> Recorder:
        return self.linkers.setdefault(model, Recorder(model))

    def process(self, *entries: Entry) -> Linked:
        """Let the shard process."""
        return self.shard.process(entries)

    def seen(self, model: str = "m") -> list[str]:
        """Return the events that the linker was given."""
        return self.linkers[model].seen if model in self.linkers else []


def _told(now: int, **reached: int) -> Entry:
    """Return a progress at `now`; names are p0, p1, ... and times are after `BEGIN`."""
    return Entry(BEGIN + now, Progress(SOURCE, PARTITIONS, {int(name[1:]): BEGIN + at for name, at in reached.items()}))


def _all(now: int, at: int) -> Entry:
    return _told(now, **{f"p{number}": at for number in range(PARTITIONS)})


def _stream(n: int, seed: int) -> tuple[list[str], list[PlacedSketches]]:
    """Return the events of a stream in their order, and the sketches of each of its partitions."""
    rng = random.Random(seed)
    found = sketches(n, seed=seed)
    written = sorted(rng.randrange(0, 10 * n) for _ in range(n))
    dealt = [rng.randrange(PARTITIONS) for _ in range(n)]
    parts = []
    for partition in range(PARTITIONS):
        rows = np.array([row for row in range(n) if dealt[row] == partition], np.intp)
        parts.append(placed(found, partition, written).take(rows))
        parts[-1] = PlacedSketches(
            parts[-1].sketches,
            SOURCE,
            partition,
            "ref",
            np.arange(len(rows)) * 2,
            np.zeros(len(rows), np.int64),
            parts[-1].written,
        )
    return list(found.event_id), [part for part in parts if len(part)]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_does_not_depend_on_arrival(n: int, seed: int, rng: random.Random) -> None:
    """However partitions interleave, repeat themselves and restart, the linker is given the stream in its order, once."""
    events, parts = _stream(n, seed)
    rig, now = Rig(), 0
    sizes = (rng.randrange(1, 5) for _ in itertools.count())
    waiting = {part.partition: list(cut(part, sizes)) for part in parts}
    done: dict[int, list[PlacedSketches]] = {part.partition: [] for part in parts}
    while any(waiting.values()):
        now += rng.randrange(0, 20)
        chosen = rng.choice([partition for partition, left in waiting.items() if left])
        if done[chosen] and rng.random() < 0.2:  # detection starts again from its last checkpoint
            back = rng.randrange(1, len(done[chosen]) + 1)
            waiting[chosen] = done[chosen][-back:] + waiting[chosen]
            del done[chosen][-back:]
        part = waiting[chosen].pop(0)
        done[chosen].append(part)
        rig.process(Entry(BEGIN + now, part))
        if rng.random() < 0.3:
            reached = {f"p{chosen}": int(part.written[-1]) - BEGIN}
            rig.process(_told(now, **reached))
        if rng.random() < 0.2:  # this worker ends, and another goes on
            saved, rig = rig.shard.snapshot(), Rig()
            rig.shard.restore(saved)
    rig.process(_all(now, 10 * n + SLACK_MS))
    assert rig.seen() == events
    assert rig.linkers["m"].sequence[-1] == n - 1
    assert rig.shard.held == 0


def test_a_sketch_waits_for_every_partition() -> None:
    """It is taken when all partitions have come as far, and the slack longer; not before."""
    rig = Rig()
    linked = rig.process(Entry(BEGIN, placed(sketches(1), 0, [5])), _told(1, p0=9000, p1=9000))
    assert rig.seen() == []
    assert rig.shard.held == 1
    linked = rig.process(_told(2, p2=5 + SLACK_MS - 1))
    assert rig.seen() == []
    linked = rig.process(_told(3, p2=5 + SLACK_MS))
    assert rig.seen() == ["e-0"]
    assert dict(linked.outcomes) == {"ordered": 1, "late": 0, "hurried": 0}


def test_a_silent_partition_is_passed_over_and_heard_again() -> None:
    """What it brings when it is there again is late: taken with the next progress, and counted."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(1), 0, [5])), _told(0, p0=0, p1=0))
    for now in range(0, PATIENCE_MS + 1001, 1000):
        linked = rig.process(_told(now, p0=now, p1=now))
    assert rig.seen() == ["e-0"]
    assert linked.outcomes["hurried"] == 1
    assert rig.shard.passed_over == [2]
    late = rig.process(
        Entry(BEGIN + PATIENCE_MS + 2000, placed(sketches(2, name="late"), 2, [3, 4])),
        _told(PATIENCE_MS + 2000, p0=PATIENCE_MS),
    )
    assert late.outcomes["late"] == 2
    assert rig.seen() == ["e-0", "late-0", "late-1"]
    assert rig.shard.passed_over == []


def test_nothing_waits_longer_than_the_limit() -> None:
    """A partition that comes on, but is far behind, holds others back for so long and no longer."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(1), 0, [500_000])))
    told = (_told(now, p0=now + 500_000, p1=now + 500_000, p2=now // 1000) for now in range(0, 2 * PATIENCE_MS + 2001, 1000))
    outcomes = [rig.process(entry).outcomes["hurried"] for entry in told]
    assert sum(outcomes) == 1
    assert outcomes.index(1) == 2 * PATIENCE_MS // 1000 + 1


def test_a_wrong_clock_disturbs_the_order_for_a_while_only() -> None:
    """One query that claims the year 9999 does not make all others late until the state is deleted."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(1, name="liar"), 0, [10**14])), _all(0, 0))
    for now in range(0, AHEAD_MS + 2001, 1000):
        rig.process(_all(now, now))
    now = AHEAD_MS + 5000
    rig.process(Entry(BEGIN + now, placed(sketches(1), 0, [now], first=1)), Entry(BEGIN + now, placed(sketches(1), 1, [now])))
    assert rig.shard.held == 2
    linked = rig.process(_all(now + 2000, now + 2000))
    assert dict(linked.outcomes) == {"ordered": 2, "late": 0, "hurried": 0}


class Other(Recorder):
    """A search whose state is of another size."""

    def restore(self, saved: bytes) -> None:
        """Refuse it, as a linker does."""
        raise SnapshotError(f"the saved links have other sizes: {len(saved)} bytes")


def test_state_of_another_size_begins_anew() -> None:
    """A changed `[links] entries` must not keep the stage from starting."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(2), 0, [1, 5000])), _all(0, 3000))
    saved = rig.shard.snapshot()
    changed = LinkShard({"m": "ref", "other": "ref"}, Other)
    changed.restore(saved)
    assert changed.held == rig.shard.held
    assert ("m", "linker") in changed.snapshot()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many sketches the oldest half is taken, whoever is behind."""
    monkeypatch.setattr(queue, "MOST_HELD", 100)
    rig = Rig()
    for first in range(0, 400, 10):
        rig.process(Entry(BEGIN, placed(sketches(10, name=f"{first}"), 0, range(first, first + 10), first=first)))
        assert rig.shard.held <= 100
    assert len(rig.seen()) + rig.shard.held == 400


def test_hurry_takes_what_waits() -> None:
    """Where nobody tells of progress any more, what waits is taken in its order."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(2), 0, [9, 10])), Entry(BEGIN, placed(sketches(1, name="b"), 1, [8])))
    assert rig.shard.hurry().outcomes["hurried"] == 3
    assert rig.seen() == ["b-0", "e-0", "e-1"]
    assert rig.shard.hurry().outcomes == {}


def test_sketches_of_another_reference_are_left_out() -> None:
    """They cannot be compared: they are counted, and so are those of models without a baseline."""
    rig = Rig()
    linked = rig.process(Entry(BEGIN, placed(sketches(3, model="unknown"), 0, [1, 2, 3])))
    assert dict(linked.outcomes) == {"foreign": 3}
    assert rig.shard.models == 0


def test_a_queries_topic_made_anew_begins_again() -> None:
    """Offsets of another topic are no repeats."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(3), 0, [1, 2, 3], first=100)))
    again = rig.process(Entry(BEGIN, placed(sketches(3, name="new"), 0, [1, 2, 3])))
    assert again.outcomes["repeated"] == 3
    new = rig.process(Entry(BEGIN, placed(sketches(3, name="new"), 0, [4, 5, 6], source=bytes(16))))
    assert new.outcomes["repeated"] == 0
    rig.process(_all(0, 9000))
    assert rig.seen() == ["e-0", "e-1", "e-2", "new-0", "new-1", "new-2"]


def test_only_what_changed_is_saved() -> None:
    """Progress alone changes no model's state; all snapshots together hold the whole."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(2), 0, [1, 2])), _all(0, 9000))
    first = rig.shard.snapshot(changed_only=True)
    assert set(first) == {ARRIVALS, ("m", ""), ("m", "linker"), ("m", "linker-0")}
    rig.process(_all(1000, 10_000))
    second = rig.shard.snapshot(changed_only=True)
    assert set(second) == {ARRIVALS}
    restored = Rig()
    restored.shard.restore(first | second)
    assert restored.shard.snapshot() == rig.shard.snapshot()
    assert restored.seen() == ["e-0", "e-1"]


@pytest.mark.parametrize("key", [ARRIVALS, ("m", ""), ("m", "linker")])
def test_damaged_state_is_refused(key: tuple[str, str]) -> None:
    """State that is damaged or of another version is refused with a sentence."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(2), 0, [1, 5000])), _all(0, 3000))
    saved = rig.shard.snapshot()
    for bad in (b"x", saved[key].replace(b"\xa7version\x01", b"\xa7version\x63"), b"\x81\xa7version\x01"):
        with pytest.raises(SnapshotError, match="the saved"):
            Rig().shard.restore(saved | {key: bad})


def test_policy_reaches_every_linker() -> None:
    """Another policy holds for all models."""
    rig = Rig()
    rig.process(Entry(BEGIN, placed(sketches(1), 0, [1])), Entry(BEGIN, placed(sketches(1, model="other"), 0, [1])))
    policy = PolicySettings(shadow=True)
    rig.shard.adopt(policy)
    assert [linker.policies for linker in rig.linkers.values()] == [[policy], [policy]]
