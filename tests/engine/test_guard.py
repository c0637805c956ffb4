"""The guard: never more stops in a minute or at a time than policy allows, and the others are throttled and told of."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.baseline.store import Baseline
from detector.engine.findings import Outputs, PendingDecision
from detector.engine.guard import ALWAYS, DAY_MS, MINUTE_MS, QUIET_MS, StopGuard
from detector.engine.partition import partition_of
from detector.engine.policy import PERTURB, THROTTLE, PolicySettings
from detector.engine.shard import SHARD_KEY, EngineSettings, Shard
from detector.errors import SnapshotError
from detector.testing import START_MS, Events, batches
from tests.engine.test_judge import theft

QUERIES = 16  # of a thief: enough to be stopped

Times = st.lists(st.integers(0, 20 * MINUTE_MS), max_size=120)


def most_in_a_minute(times: Iterable[int]) -> int:
    """Return the most of these times in any minute."""
    ordered = np.sort(np.fromiter(times, np.int64))
    return int((np.searchsorted(ordered, ordered + MINUTE_MS) - np.arange(len(ordered))).max(initial=0))


@given(Times, st.integers(1, 5))
def test_no_minute_has_more_stops_in_whatever_order_they_come(times: list[int], most: int) -> None:
    """A stop that is refused has a reason: so many stops less than a minute away."""
    guard = StopGuard(PolicySettings(new_stops_per_minute=most))
    taken: list[int] = []
    for time_ms in times:
        if guard.refusal(time_ms, 0, simulated=False) is None:
            taken.append(time_ms)
        elif len(taken) < 16 * most:
            assert sum(abs(time_ms - other) < MINUTE_MS for other in taken) >= most
    assert most_in_a_minute(taken) <= most


@given(Times)
def test_without_limits_nothing_is_refused(times: list[int]) -> None:
    """The engine has none by default; the configuration has."""
    guard = StopGuard(PolicySettings())
    assert all(guard.refusal(time_ms, 10**6, simulated=False) is None for time_ms in times)


@given(Times, Times)
def test_a_guard_goes_on_where_it_was_saved(before: list[int], after: list[int]) -> None:
    """Restored state refuses what the guard would have refused, and saves to the same state."""
    policy = PolicySettings(new_stops_per_minute=2, stopped_share=0.5)
    guard, restored = StopGuard(policy), StopGuard(policy)
    for time_ms in before:
        guard.note_active(time_ms // MINUTE_MS)
        if guard.refusal(time_ms, 0, simulated=True) is not None:
            guard.episode(time_ms, simulated=True).clients += 1
    restored.restore(guard.state())
    assert restored.state() == guard.state()
    for time_ms in after:
        asked = [each.refusal(time_ms, ALWAYS, simulated=True) for each in (guard, restored)]
        assert asked[0] == asked[1]
    assert restored.state() == guard.state()


def test_the_share_is_of_the_clients_of_the_day_or_the_day_before() -> None:
    """A day that has just begun does not make everybody few; a model with few clients may stop `ALWAYS` of them."""
    guard = StopGuard(PolicySettings(stopped_share=0.1))
    for _ in range(1000):
        guard.note_active(10)
    guard.note_active(11)
    for day, active in ((10, 1000), (11, 1000), (12, 1), (13, 0)):
        assert guard.active(day * DAY_MS) == active
        allowed = max(active // 10, ALWAYS)
        assert guard.refusal(day * DAY_MS, allowed - 1, simulated=False) is None
        assert f"0.1 of {active} active clients" in str(guard.refusal(day * DAY_MS, allowed, simulated=False))


def test_simulated_stops_leave_the_room_of_real_ones() -> None:
    """A channel in shadow mode that stops everybody keeps no thief from being stopped."""
    guard = StopGuard(PolicySettings(new_stops_per_minute=1))
    assert guard.refusal(0, 0, simulated=True) is None
    assert guard.refusal(0, 0, simulated=True) is not None
    assert guard.refusal(0, 0, simulated=False) is None


def test_partitions_share_the_stops_and_each_has_one() -> None:
    """What each may do is rounded down, and the sentence says so."""
    for wanted, partitions, own in ((60, 6, 10), (7, 2, 3), (2, 6, 1)):
        guard = StopGuard(PolicySettings(new_stops_per_minute=wanted), partitions)
        assert [guard.refusal(0, 0, simulated=False) for _ in range(own)] == [None] * own
        assert f"allows {wanted}, here {own} of each of {partitions}" in str(guard.refusal(0, 0, simulated=False))


def test_a_quiet_time_ends_an_episode() -> None:
    """Episodes are numbered; a late event belongs to the one that is under way."""
    guard = StopGuard(PolicySettings(new_stops_per_minute=1))
    numbers = [guard.episode(at, simulated=False).number for at in (0, QUIET_MS, 5, 2 * QUIET_MS, 3 * QUIET_MS + 1)]
    assert numbers == [1, 1, 1, 1, 2]


def crowd(clients: int, starts_ms: Sequence[int], order: Sequence[int]) -> list[bytes]:
    """Return the queries of many thieves, dealt in an order that is repeated until all have come."""
    waiting = [
        theft(QUERIES, client=f"thief-{number}", first=number, start_ms=START_MS + starts_ms[number])
        for number in range(clients)
    ]
    lines = []
    while any(waiting):
        lines += [waiting[number].pop(0) for number in order if waiting[number]]
    return lines


def stops(pending: Sequence[PendingDecision]) -> list[PendingDecision]:
    """Return the decisions that stop a client who is not stopped at that time."""
    until: dict[str, int] = {}
    found = []
    for decision in pending:
        if decision.action >= PERTURB:
            if until.get(decision.client, -1) <= decision.issued_ms:
                found.append(decision)
            until[decision.client] = decision.expires_ms
    return found


def through(shards: Sequence[Shard], lines: list[bytes]) -> Outputs:
    """Return what shards find in lines that are dealt to them by client."""
    outputs = Outputs()
    for batch in batches(lines):
        owner = np.array([partition_of(client, len(shards)) for client in batch.client])
        for number, shard in enumerate(shards):
            if len(own := np.flatnonzero(owner == number)):
                outputs.add(shard.process(batch.take(own)))
    outputs.sort()
    return outputs


@settings(max_examples=12, deadline=None)
@given(data=st.data(), most=st.integers(1, 6), partitions=st.integers(1, 4))
def test_no_minute_has_more_stops_however_clients_are_dealt(
    generated_baseline: Baseline, data: st.DataObject, most: int, partitions: int
) -> None:
    """Each partition has its share, and one at least; whoever is not stopped is throttled."""
    clients = 12
    starts = data.draw(st.lists(st.integers(0, 150_000), min_size=clients, max_size=clients))
    order = data.draw(st.permutations(range(clients)))
    engine = EngineSettings(policy=PolicySettings(new_stops_per_minute=most)).dealt(partitions)
    shards = [Shard(engine, generated_baseline.models) for _ in range(partitions)]
    outputs = through(shards, crowd(clients, starts, order))
    new = stops(outputs.pending_decisions)
    assert new
    assert most_in_a_minute(decision.issued_ms for decision in new) <= max(most, partitions)
    assert {decision.client for decision in outputs.pending_decisions} == {f"thief-{number}" for number in range(clients)}


@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_cuts_and_restarts_change_nothing(generated_baseline: Baseline, data: st.DataObject) -> None:
    """The same stops are held back, wherever batches end and the state is handed over; and the state is the same."""
    lines = crowd(24, data.draw(st.lists(st.integers(0, 60_000), min_size=24, max_size=24)), range(24))
    engine = EngineSettings(policy=PolicySettings(new_stops_per_minute=2, stopped_share=0.1))
    whole = Shard(engine, generated_baseline.models)
    expected = through([whole], lines)
    assert expected.held_back
    shard, found = Shard(engine, generated_baseline.models), Outputs()
    cuts = sorted(data.draw(st.lists(st.integers(1, len(lines) - 1), min_size=1, max_size=5, unique=True)))
    for start, stop in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        for batch in batches(lines[start:stop], first_sequence=start):
            found.add(shard.process(batch))
        saved, shard = shard.snapshot(), Shard(engine, generated_baseline.models)
        shard.restore(saved)
    assert (found.pending_decisions, found.held_back) == (expected.pending_decisions, expected.held_back)
    assert shard.snapshot() == whole.snapshot()


def test_a_stop_that_is_held_back_is_a_throttle_and_follows_when_there_is_room(generated_baseline: Baseline) -> None:
    """One alert says that a client is held back and by which setting; its next evidence after a minute stops it."""
    lines = [*theft(QUERIES, client="first"), *theft(QUERIES, client="second", first=1)]
    lines += theft(4, client="second", first=2, start_ms=START_MS + 2 * MINUTE_MS)
    outputs = Shard(EngineSettings(policy=PolicySettings(new_stops_per_minute=1)), generated_baseline.models).process(
        *batches(lines)
    )
    second = [decision for decision in outputs.pending_decisions if decision.client == "second"]
    assert second[0].action == THROTTLE
    assert second[0].text.endswith("; not stopped: [policy] new_stops_per_minute allows 1")
    assert [decision.action for decision in second][1] >= PERTURB
    assert second[1].issued_ms >= START_MS + 2 * MINUTE_MS
    (held,) = outputs.held_back
    assert (held.client, held.clients, held.alert_id) == ("second", 1, held.alert_id)
    assert held.text == "1 client is throttled instead of stopped: [policy] new_stops_per_minute allows 1"


def test_the_alerts_count_tenfold(generated_baseline: Baseline) -> None:
    """Of thirty clients that are held back, two alerts tell: of the first, and of the tenth. Each has an id of its own."""
    engine = EngineSettings(policy=PolicySettings(new_stops_per_minute=1))
    outputs = through([Shard(engine, generated_baseline.models)], crowd(31, [0] * 31, range(31)))
    assert [held.clients for held in outputs.held_back] == [1, 10]
    assert len({held.alert_id for held in outputs.held_back}) == 2


def test_the_share_holds_at_any_time(generated_baseline: Baseline) -> None:
    """Of thirty clients, all thieves, `ALWAYS` are stopped where a tenth may be."""
    engine = EngineSettings(policy=PolicySettings(stopped_share=0.1))
    outputs = through([Shard(engine, generated_baseline.models)], crowd(30, [0] * 30, range(30)))
    assert len({decision.client for decision in outputs.pending_decisions if decision.action >= PERTURB}) == ALWAYS
    assert outputs.held_back[0].text.endswith(f"stopped_share allows 0.1 of 30 active clients, and {ALWAYS} are stopped")


def test_policy_changes_between_batches_and_keeps_the_state(generated_baseline: Baseline) -> None:
    """A client goes on the list while a throttle holds, and is not stopped any more; who is trusted cannot change."""
    policy = PolicySettings()
    shard = Shard(EngineSettings(policy=policy), generated_baseline.models)
    lines = theft(60)
    shard.process(*batches(lines[:6]))
    before = shard.snapshot()
    shard.adopt(replace(policy, never_block=frozenset({"thief"})))
    assert shard.snapshot() == before
    outputs = shard.process(*batches(lines[6:], first_sequence=6))
    assert {decision.action for decision in outputs.pending_decisions} == {THROTTLE}
    with pytest.raises(ValueError, match="trust_clients"):
        shard.adopt(replace(policy, trust_clients=False))


def test_forged_state_of_the_guard_is_refused(generated_baseline: Baseline) -> None:
    """An episode's number is a number of clients' state."""
    guard = StopGuard(PolicySettings()).state()
    guard["sides"][0][1][0] = 256
    with pytest.raises(ValueError, match="numbered"):
        StopGuard(PolicySettings()).restore(guard)
    shard = Shard(EngineSettings(), generated_baseline.models)
    shard.process(*batches([Events("alpha").line("a", np.zeros(9), 0)]))
    saved = shard.snapshot()
    cut = saved["alpha", SHARD_KEY].replace(b"episodes", b"episodez")
    with pytest.raises(SnapshotError, match="damaged"):
        Shard(EngineSettings(), generated_baseline.models).restore(saved | {("alpha", SHARD_KEY): cut})
