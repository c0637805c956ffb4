"""What is kept of campaigns: the same queries whenever they are gathered, and no more than there is room for."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.engine.links.groups import Groups
from detector.engine.links.holdings import MOST_CAMPAIGNS
from detector.engine.links.joined import Account, Group
from detector.engine.links.latest import LEAST_RING, MOST_SAMPLED, Latest, margins_of
from detector.engine.links.seeking.search import links_for
from detector.engine.links.settings import LinkSettings
from detector.engine.links.sketch import Sketches
from detector.engine.links.together import Together
from detector.engine.memory.reservoir import COORDINATES, NO_MARGIN, SAMPLED
from detector.engine.odometer.reference_set import ReferenceSet
from detector.errors import SnapshotError
from detector.ingest.batch import Sender

ACCOUNTS = 3


def judging() -> ReferenceSet:
    rng = np.random.default_rng(0)
    z = rng.integers(-300, 300, (64, COORDINATES)).astype(np.int16)
    c = rng.integers(0, 255, (64, SAMPLED)).astype(np.uint8)
    return ReferenceSet(z, c, (z[:, 0] > 0).astype(np.int32), table=False)


def asked(n: int, first: int = 1) -> tuple[Sketches, np.ndarray, np.ndarray]:
    """Return n new queries of a few accounts in turn, with numbers from `first` on."""
    uid = np.arange(first, first + n)
    rng = np.random.default_rng(1)
    z = rng.integers(-300, 300, (10_000, COORDINATES)).astype(np.int16)[uid]
    c = rng.integers(0, 255, (10_000, SAMPLED)).astype(np.uint8)[uid]
    numbers = np.zeros(n, np.uint32)
    sketches = Sketches(
        "m", uid, uid, [""] * n, [""] * n, [Sender()] * n, [None] * n, z, c, numbers, numbers, numbers.astype(np.uint64),
        (z[:, 0] > 0).astype(np.int32), np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32), np.zeros(n, np.uint8),
    )  # fmt: skip
    return sketches, (uid % ACCOUNTS * 2 + 1).astype(np.uint64), uid


def together(entries: int = 4 * LEAST_RING) -> Together:
    return Together(Latest(judging(), entries, 7), len, lambda sender: sender.trusted is True)


def grouped(*numbers: int, group: int = 9) -> Groups:
    """Return one group of accounts, all of them named."""
    groups = Groups(LinkSettings())
    found = groups.groups[group] = Group(group, 0, 0, 0, "first")
    for number in numbers:
        groups.grouped[number] = Account(number, str(number), None, None, queries=100, group=group)
        found.accounts[number] = None
        found.named.append(number)
    found.queries = 100 * len(numbers)
    return groups


def run(kept: Together, groups: Groups, n: int, edges: list[int], reads: tuple[int, ...]) -> None:
    """Take in n queries, cut at `edges`; the campaign is read at the queries `reads`."""
    for start, stop in pairwise(edges):
        sketches, account, uid = asked(stop - start, start + 1)
        links = links_for(stop - start)
        links.uid[:] = uid
        kept.take(sketches, account, links)
        for number in uid.tolist():
            kept.advance(number, groups)
            if number in reads:
                kept.holdings.read(groups.groups[9], groups, number)
        kept.finish()
    assert edges[-1] == n


@given(cuts=st.lists(st.integers(1, 899), max_size=4, unique=True))
def test_cuts_change_nothing(cuts: list[int]) -> None:
    states = []
    for edges in ([0, 900], [0, *sorted(cuts), 900]):
        kept = together()
        run(kept, grouped(1, 3), 900, edges, (100, 500))
        states.append(kept.state())
    assert states[0] == states[1]


def test_a_campaign_keeps_what_the_ring_forgets() -> None:
    """All queries of its accounts from the first reading on, and what the ring had before, up to a sample's size."""
    kept, groups = together(), grouped(1)
    run(kept, groups, 1000, [0, 1000], (100, 1000))
    rows = kept.holdings.campaigns[9].sample.rows
    assert rows["uid"].tolist() == [uid for uid in range(1, 1001) if uid % ACCOUNTS == 0]
    assert (rows["account"] == 1).all()


def test_a_sample_does_not_depend_on_when_it_was_gathered() -> None:
    samples = []
    for reads in ((1, 1000, 2000), (1, 400, 700, 1300, 2000)):
        kept, groups = together(), grouped(1, 3, 5)
        run(kept, groups, 2000, [0, 2000], reads)
        samples.append(kept.holdings.campaigns[9].sample.rows["uid"].tolist())
    assert samples[0] == samples[1]
    assert len(samples[0]) == MOST_SAMPLED
    assert 800 < np.mean(samples[0]) < 1200, "early and late queries alike"


def test_campaigns_that_merge_are_read_as_one() -> None:
    kept, groups = together(), grouped(1)
    run(kept, groups, 200, [0, 200], (200,))
    before = kept.holdings.campaigns[9].sample.rows["uid"].tolist()
    merged = grouped(1, 3, group=4)
    merged.groups[9] = merged.groups.pop(4)
    merged.groups[9].number = 9
    other = grouped(1, 3, group=4)
    found = kept.holdings.read(other.groups[4], other, 200)
    assert found is not None
    assert list(kept.holdings.campaigns) == [4]
    assert set(before) < set(kept.holdings.campaigns[4].sample.rows["uid"].tolist())
    kept.advance(256, Groups(LinkSettings()))
    assert not kept.holdings.campaigns, "the group was forgotten"


def test_no_more_campaigns_are_kept_than_there_is_room_for() -> None:
    kept, groups = together(), Groups(LinkSettings())
    for number in range(1, MOST_CAMPAIGNS + 3):
        own = grouped(2 * number + 1, group=number)
        groups.groups |= own.groups
        groups.grouped |= own.grouped
        kept.holdings.read(own.groups[number], groups, 1)
    assert len(kept.holdings.campaigns) == MOST_CAMPAIGNS
    assert min(kept.holdings.campaigns) == 3


def test_damaged_state_is_refused() -> None:
    kept, groups = together(), grouped(1)
    run(kept, groups, 200, [0, 200], (200,))
    state = kept.state()
    (campaign,) = state["campaigns"]
    for place, value in ((2, b"1"), (3, -1), (4, 10_000), (3, "many"), (4, None)):
        bad = [*campaign]
        bad[place] = value
        with pytest.raises(SnapshotError, match="damaged"):
            together().restore({**state, "campaigns": [bad]})
    larger = together(8 * LEAST_RING)
    larger.restore(state)
    assert not larger.holdings.campaigns, "the ring has another size, so it begins anew"
    same = together()
    same.restore(state)
    assert same.state() == state


def test_margins_are_those_of_the_memory() -> None:
    confidence, runner_up = np.array([1.0, 0.5, np.nan], np.float32), np.array([0.0, 0.5, np.nan], np.float32)
    assert margins_of(confidence, runner_up).tolist() == [round(256 * np.log(1e6)), 0, NO_MARGIN]
