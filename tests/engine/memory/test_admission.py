"""Which events count: against a plain ledger, under repeats, disorder and clocks that stand still."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.columns import allocate
from detector.engine.memory.admission import (
    BLOCK,
    BLOCKS,
    FRESH,
    LATE,
    REFUSED,
    REFUSED_AGAIN,
    REPEATED,
    Admission,
    Arrivals,
    admit,
    evaluation_after,
)
from detector.engine.memory.hashing import digest, joined
from detector.engine.memory.ledger import SMALLEST_LEDGER, Ledger
from tests.engine.memory.unadmitted import unadmitted

LATENESS = 1000
START = 1_700_000_000_000


def keys_of(ids: Sequence[str], owner: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    ends, keys = np.empty(len(ids), np.int64), np.empty(len(ids), np.uint64)
    digest(joined(ids, ends), ends, owner, keys)
    return keys


class Door:
    """Admission for a few clients, fed piece by piece."""

    def __init__(self, clients: int = 1) -> None:
        self.state = allocate(Admission, clients)
        self.ledger = Ledger()
        self.kept = np.ones(clients, np.bool_)
        self.owner = np.arange(1, clients + 1, dtype=np.uint64) << np.uint64(40)
        self.sequence = 0

    def offer(
        self,
        slots: Sequence[int],
        ids: Sequence[str],
        times: Sequence[int] | npt.NDArray[np.int64],
        contents: Sequence[int] | None = None,
        refused: Sequence[int] | None = None,
    ) -> tuple[list[int], list[int], list[bool]]:
        """Return verdicts, positions and evaluations; `self.reused` then tells whose id had another content before."""
        n = len(ids)
        slot = np.array(slots, np.int64)
        self.ledger.reserve(n, self.state.horizon_ms, self.kept)
        arrivals = Arrivals(
            slot,
            np.asarray(times, np.int64),
            keys_of(ids, self.owner[slot]),
            (np.asarray(contents or [0] * n) << 48).astype(np.uint64),
            np.asarray(refused or [0] * n, np.uint8),
            np.arange(self.sequence, self.sequence + n),
        )
        self.sequence += n
        admitted = unadmitted(n)
        self.ledger.entered(admit(self.state, self.ledger.entries, arrivals, LATENESS, admitted))
        self.reused = admitted.reused.tolist()
        return admitted.verdict.tolist(), admitted.position.tolist(), admitted.evaluation.tolist()


class Clock:
    """A client's time in words: two successive events move it further than the lateness, one does not."""

    def __init__(self, time: int) -> None:
        self.latest = time
        self.horizon = time - LATENESS
        self._ahead: int | None = None

    def advance(self, time: int) -> None:
        if time > self.latest + LATENESS and (self._ahead is None or time < self._ahead - LATENESS):
            self._ahead = time
            return
        if time > self.latest + LATENESS:
            self.latest = min(time, self._ahead or time)
        if time > self.latest + LATENESS:
            self._ahead = time
        else:
            self._ahead = None
            self.latest = max(self.latest, time)
        self.horizon = max(self.horizon, self.latest - LATENESS)


class Ledgers:
    """The same in words: the ids of every client with their contents, and the time before which nothing is accepted."""

    def __init__(self) -> None:
        self.clocks: dict[int, Clock] = {}
        self._known: dict[tuple[int, str], dict[int, int]] = {}
        self._refused: dict[tuple[int, str, int], int] = {}

    def offer(self, client: int, event_id: str, time: int, content: int, *, refused: bool) -> tuple[int, bool]:
        """Return the verdict, and whether the id is known with another content."""
        clock = self.clocks.setdefault(client, Clock(time))
        if time < clock.horizon:
            return (REFUSED if refused else LATE), False
        if refused:
            known = self._refused.get((client, event_id, content), -1) >= clock.horizon
            if not known:
                self._refused[client, event_id, content] = time
                clock.advance(time)
            return (REFUSED_AGAIN if known else REFUSED), False
        contents = self._known.setdefault((client, event_id), {})
        if max(contents.values(), default=-1) < clock.horizon:
            contents.clear()
        first = next(iter(contents), content)
        if content in contents and (content == first or contents[content] >= clock.horizon):
            return REPEATED, False
        contents[content] = time
        contents[first] = max(contents[first], time)
        clock.advance(time)
        return FRESH, content != first


offers = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.integers(0, 25),
        st.sampled_from([0, 1, 300, 999, 1000, 1001, 5000, -400, -1000, -1001]),
        st.sampled_from([0, 0, 0, 1, 2]),
        st.sampled_from([0, 0, 0, 0, 3]),
    ),
    min_size=1,
    max_size=150,
)


@given(offers, st.sets(st.integers(1, 149)), st.booleans())
def test_verdicts_are_those_of_a_plain_ledger(rows: list[tuple[int, int, int, int, int]], cuts: set[int], swept: bool) -> None:
    """Ids may come again with any time and content; neither the cuts of the stream nor sweeping the table changes a verdict."""
    slots, events, steps, contents, refused = map(list, zip(*rows, strict=True))
    ids = [f"é{event}" if event % 2 else f"e{event}" for event in events]
    times = (START + np.cumsum([0, *steps])[1:]).tolist()
    plain = Ledgers()
    wanted = [
        plain.offer(client, event_id, time, content, refused=bool(code))
        for client, event_id, time, content, code in zip(slots, ids, times, contents, refused, strict=True)
    ]
    door = Door(3)
    found: list[tuple[int, bool]] = []
    stops = [0, *sorted(cut for cut in cuts if cut < len(rows)), len(rows)]
    for start, stop in pairwise(stops):
        part = slice(start, stop)
        verdicts, _, _ = door.offer(slots[part], ids[part], times[part], contents[part], refused[part])
        found += zip(verdicts, door.reused, strict=True)
        if swept:
            door.ledger.sweep(door.state.horizon_ms, door.kept)
    assert found == wanted
    for client, clock in plain.clocks.items():
        assert int(door.state.latest_ms[client]) == clock.latest
        assert int(door.state.queries[client]) == sum(
            verdict == FRESH and slot == client for (verdict, _), slot in zip(wanted, slots, strict=True)
        )


def test_one_id_for_all_queries_hides_none_of_them() -> None:
    """Each content under an id is a query of its own; what comes again with its content is a repeat, the first one included."""
    door = Door()
    verdicts, positions, _ = door.offer([0] * 5, ["same"] * 5, range(START, START + 5), contents=[7, 8, 9, 8, 7])
    assert verdicts == [FRESH, FRESH, FRESH, REPEATED, REPEATED]
    assert positions == [1, 2, 3, 0, 0]
    assert door.reused == [False, True, True, False, False]


def test_one_event_a_day_ahead_makes_nothing_late() -> None:
    """A wrong clock is believed only when the next event agrees with it."""
    door = Door()
    day = 86_400_000
    times = [START, START + day, *range(START + 10, START + 1000, 10)]
    assert set(door.offer([0] * len(times), [f"e{i}" for i in range(len(times))], times)[0]) == {FRESH}
    later = [START + 2 * day, START + 2 * day + 5, START + day]
    assert door.offer([0] * 3, ["a", "b", "c"], later)[0] == [FRESH, FRESH, LATE]


@pytest.mark.parametrize("gaps", [[0], [1], [0, 0, 700], [3, -2, -900, 1400], [60_000, -30]])
def test_a_whole_log_twice_counts_once(gaps: list[int]) -> None:
    """However time runs, or stands still, no event of a second delivery is fresh, at once or at the end."""
    n = 4 * BLOCK * BLOCKS
    times = START + np.cumsum(np.resize(gaps, n))
    ids = [f"e{i}" for i in range(n)]
    door = Door()
    first = door.offer([0] * n, ids, times)[0]
    fresh = int(door.state.queries[0])
    latest = int(door.state.latest_ms[0])
    assert first.count(FRESH) == fresh > 0
    again = door.offer([0] * n, ids, times)[0]
    assert FRESH not in again
    assert (int(door.state.queries[0]), int(door.state.latest_ms[0])) == (fresh, latest)


def test_disorder_within_the_lateness_is_accepted() -> None:
    """Events shuffled within the allowed lateness are all counted; the time reached never moves back."""
    rng = np.random.default_rng(3)
    times = START + 10 * np.arange(2000)
    shuffled = np.argsort(times + rng.integers(0, LATENESS, 2000), kind="stable")
    door = Door()
    reached = 0
    for i in shuffled.tolist():
        verdict, *_ = door.offer([0], [f"e{i}"], [int(times[i])])
        assert verdict == [FRESH]
        assert int(door.state.latest_ms[0]) >= reached
        reached = int(door.state.latest_ms[0])
    assert reached == int(times[-1])


def test_the_limit_of_lateness_is_exact() -> None:
    """Behind by just the lateness is accepted, a millisecond more is late, and late events leave no trace."""
    door = Door()
    door.offer([0], ["now"], [START])
    assert door.offer([0, 0], ["a", "b"], [START - LATENESS, START - LATENESS - 1])[0] == [FRESH, LATE]
    assert door.offer([0], ["b"], [START])[0] == [FRESH]


def test_ids_belong_to_their_client() -> None:
    """Two clients may use the same ids."""
    door = Door(2)
    assert door.offer([0, 1, 0, 1], ["e", "e", "e", "e"], [START] * 4)[0] == [FRESH, FRESH, REPEATED, REPEATED]


def test_more_queries_than_are_remembered_raise_the_horizon() -> None:
    """Also within the lateness, an event older than 3,072 to 4,096 of its client's own queries is late."""
    door = Door()
    door.offer([0], ["start"], [START])
    n = BLOCK * BLOCKS
    door.offer([0] * n, [f"e{i}" for i in range(n)], START + 10 + np.arange(n) // 100)
    assert door.offer([0], ["new"], [START])[0] == [LATE]
    assert door.offer([0], ["newer"], [int(door.state.latest_ms[0]) - 1])[0] == [FRESH]


def test_the_table_holds_what_arrives_within_the_lateness() -> None:
    """A stream of 50,000 events, a hundred within the lateness, never needs more than the smallest table."""
    door = Door()
    for start in range(0, 50_000, 250):
        ids = [f"e{i}" for i in range(start, start + 250)]
        door.offer([0] * 250, ids, START + 10 * np.arange(start, start + 250))
        assert len(door.ledger.entries.key) <= 2 * SMALLEST_LEDGER
    assert sum(map(len, door.ledger.of(door.state.horizon_ms, door.kept).values())) == LATENESS // 10 + 1


def test_a_saved_ledger_goes_on_as_it_was() -> None:
    """What `of` gives and `enter` takes decides every later repeat."""
    rng = np.random.default_rng(9)
    ids = [f"e{i}" for i in range(400)]
    slots = rng.integers(0, 2, 400).tolist()
    times = START + 7 * np.arange(400)
    door = Door(2)
    door.offer(slots, ids, times)
    other = Door(2)
    for name, column in door.state._asdict().items():
        getattr(other.state, name)[:] = column
    saved = door.ledger.of(door.state.horizon_ms, door.kept)
    pairs = np.concatenate(list(saved.values()))
    owners = np.repeat(list(saved), [len(own) for own in saved.values()])
    other.ledger.enter(owners, pairs, other.state.horizon_ms, other.kept)
    other.ledger.enter(owners[:50], pairs[:50], other.state.horizon_ms, other.kept)  # again: they are there already
    assert other.ledger._used == len(pairs)
    assert door.offer(slots, ids, times + 5)[0] == other.offer(slots, ids, times + 5)[0]
    saved, again = door.ledger.of(door.state.horizon_ms, door.kept), other.ledger.of(other.state.horizon_ms, other.kept)
    assert saved.keys() == again.keys()
    for slot, pairs in saved.items():
        np.testing.assert_array_equal(pairs, again[slot])
    (alone,) = door.ledger.of(door.state.horizon_ms, np.array([False, True])).items()
    assert alone[0] == 1
    np.testing.assert_array_equal(alone[1], saved[1])


def test_looks_come_as_documented() -> None:
    """At 8, 16, 24, 32, 48, 64 queries, then whenever the count has grown by a tenth, rounded up."""
    n = 20_000
    verdict, position, evaluated = Door().offer([0] * n, [f"e{i}" for i in range(n)], START + 10 * np.arange(n))
    assert set(verdict) == {FRESH}
    assert position == list(range(1, n + 1))
    wanted = [8, 16, 24, 32, 48, 64]
    while (following := math.ceil(round(wanted[-1] * 1.1, 6))) <= n:
        wanted.append(following)
    assert [count for count, looked in zip(position, evaluated, strict=True) if looked] == wanted
    assert len(wanted) < 13 + 10 * math.log(n)
    assert [int(evaluation_after(queries)) for queries in (0, 7, 8, 63, 64)] == [8, 8, 16, 64, 71]


def test_repeats_and_late_events_bring_no_look() -> None:
    """A client of seven queries is not looked at because its seventh is delivered again."""
    door = Door()
    ids = [f"e{i}" for i in range(7)]
    door.offer([0] * 7, ids, [START] * 7)
    verdict, position, evaluated = door.offer([0] * 3, ["e6", "e6", "z"], [START, START, START - 2 * LATENESS])
    assert (verdict, position, evaluated) == ([REPEATED, REPEATED, LATE], [0, 0, 0], [False] * 3)
    assert door.offer([0], ["e7"], [START])[2] == [True]
