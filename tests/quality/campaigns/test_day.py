from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.redteam.sessions import innocent
from tests.quality.campaigns.day import benign_day
from tests.quality.campaigns.structures import STRUCTURES, Member, Scene, moments
from tests.quality.campaigns.traffic import DAY_MS, together
from tests.quality.fleet import ask_all
from tests.quality.simulation import Simulation, simulated

DIGITS, FRAUD, FEATURES = (simulated(*one, 1) for one in (("digits_8bit", "mlp"), ("fraud", "forest"), ("features", "mlp")))
PROFILES = {
    "image": ("steady", "blur", "mirrored", "video"),
    "tabular": ("tab_steady", "tab_what_if", "tab_numeric_noise"),
    "text": ("text_steady", "text_paraphrase"),
}
WORLDS = pytest.mark.parametrize("served", [DIGITS, FRAUD, FEATURES], ids=["pictures", "table", "embeddings"])


def _members(served: Simulation, name: str, seed: int) -> Sequence[Member]:
    target, rng = served.evaluation, np.random.default_rng(seed)
    scene = Scene.of(target, PROFILES[target.data], rng)
    structure = STRUCTURES[name][1](scene, rng)
    players = [
        innocent(stream.profile, number, target, stream.queries, 1.0, seed) for number, stream in enumerate(next(structure))
    ]
    ask_all(players, target)
    with pytest.raises(StopIteration) as end:
        structure.send([np.stack(player.vectors) for player in players])
    found: Sequence[Member] = end.value.value
    return found


@WORLDS
@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_goes_with_every_kind_of_data(served: Simulation, name: str) -> None:
    """Accounts have queries of the model's dimension at moments of one day, in order."""
    for seed in range(3):
        members = _members(served, name, seed)
        assert members
        for member in members:
            assert member.rows.shape == (len(member.moments), served.evaluation.benign.vectors.shape[1])
            assert len(member.moments)
            assert np.isfinite(member.rows).all()
            assert (np.diff(member.moments) >= 0).all()
            assert 0.0 <= member.moments[0] <= member.moments[-1] <= 1.0


def test_an_organisation_deals_one_stream() -> None:
    """The keys of an organisation together ask what one client of the profile asks; shadows of a stream ask as much."""
    members = _members(DIGITS, "organization", 2)
    assert 4 <= len(members) <= 40
    assert len({member.role for member in members}) == 1
    copies = _members(DIGITS, "shadow", 2)
    assert len({len(member.rows) for member in copies}) == 1


@given(seed=st.integers(0, 10_000), count=st.integers(1, 50))
@settings(max_examples=50, deadline=None)
def test_moments_are_in_order_and_within_the_day(seed: int, count: int) -> None:
    """Whatever the arrival, nothing comes before the day begins or after it ends."""
    when = moments(np.random.default_rng(seed), count)
    assert len(when) == count
    assert (np.diff(when) >= 0).all()
    assert when[0] >= 0.0
    assert when[-1] <= 1.0 + 1e-12


@WORLDS
def test_a_day_is_a_log_of_many_accounts(served: Simulation) -> None:
    """In the order of time, on the wire, most accounts in organisations of which the share that is asked for is named."""
    day = benign_day(served.evaluation, 60, PROFILES[served.evaluation.data], 3, told=1.0)
    assert len(day.accounts) >= 60
    assert set(day.account.tolist()) == set(range(len(day.accounts)))
    assert (np.diff(day.moments) >= 0).all()
    assert not day.made.any()
    sent = served.evaluation.wire.send(day.vectors.astype(np.float64))
    assert np.allclose(sent, day.vectors, atol=2e-3)
    named = Counter(account.organization for account in day.accounts)
    assert None not in named
    assert max(named.values()) >= 4
    batches = day.batches("m")
    assert sum(len(batch) for batch in batches) == len(day)
    assert [batch.sender[0].organization for batch in batches[:1]] == [day.accounts[int(day.account[0])].organization]


def test_the_same_seed_gives_the_same_day() -> None:
    """Byte for byte; another seed gives another, and without `told` nobody names an organisation."""
    days = [benign_day(DIGITS.evaluation, 40, PROFILES["image"], seed) for seed in (5, 5, 6)]
    assert days[0].vectors.tobytes() == days[1].vectors.tobytes()
    assert days[0].vectors.shape != days[2].vectors.shape or days[0].vectors.tobytes() != days[2].vectors.tobytes()
    assert {account.organization for account in days[0].accounts} == {None}


def test_crowds_come_together_in_the_order_of_time() -> None:
    """Every query stays with its account; ties keep the order of the crowds."""
    one = benign_day(DIGITS.evaluation, 20, PROFILES["image"], 7)
    two = replace(one, accounts=[account._replace(id=f"other-{account.id}") for account in one.accounts])
    both = together([one, two])
    assert len(both) == 2 * len(one)
    assert (np.diff(both.moments) >= 0).all()
    for number in (0, len(one.accounts) - 1):
        rows = both.vectors[both.account == number + len(one.accounts)]
        assert np.array_equal(rows, one.vectors[one.account == number])
    times = np.concatenate([batch.time for batch in both.batches("m", labels_only=True)])
    assert (np.diff(times) >= 0).all()
    assert times[-1] - times[0] <= DAY_MS
    assert all(np.isnan(batch.confidence).all() for batch in both.batches("m", labels_only=True))
