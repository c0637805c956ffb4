import json
from itertools import pairwise

import numpy as np
import pytest

from detector.contracts import PredictionEvent
from detector.errors import ConfigError
from detector.redteam.play import Player
from detector.redteam.sessions import Disguise, Summary, innocent, judged, play, thief
from detector.redteam.targets import Target, named


@pytest.fixture(scope="module")
def digits() -> Target:
    """The digits and their model."""
    return named("digits")


def _thief(target: Target, role: str = "jbda", disguise: Disguise | None = None, budget: int = 60, seed: int = 1) -> Player:
    return thief(role, 0, target, disguise or Disguise(), budget, 6.0, seed)


def _play(players: list[Player], target: Target) -> tuple[list[bytes], list[dict[str, object]]]:
    lines = list(play(players, target))
    return [event for event, _ in lines], [json.loads(truth) for _, truth in lines]


def test_events_are_native_and_in_the_order_of_time(digits: Target) -> None:
    """Every line is a prediction event, ids are unique, times never go back, and the answers are the model's."""
    events, truth = _play([_thief(digits), innocent("video", 0, digits, 40, 6.0, 1)], digits)
    parsed = [PredictionEvent.model_validate_json(line) for line in events]
    assert len({event.event_id for event in parsed}) == len(parsed) == 100
    times = [event.time_ms for event in parsed]
    assert times == sorted(times)
    assert {event.client.id for event in parsed} == {"thief-jbda-1", "video-1"}
    X = np.stack([event.values() for event in parsed]).astype(np.float64)
    told = np.stack([np.array(event.output.probabilities) for event in parsed])
    np.testing.assert_allclose(told, digits.predict(X), atol=1e-3)
    assert [event.event_id for event in parsed] == [line["event_id"] for line in truth]


def test_the_truth_says_who_is_hostile_and_what_was_made(digits: Target) -> None:
    """Twenty natural seeds, then made queries, under half of cover; innocents make nothing."""
    disguise = Disguise(cover=0.5, cover_profile="retries")
    _, truth = _play([_thief(digits, disguise=disguise), innocent("steady", 0, digits, 20, 6.0, 1)], digits)
    hostile = [line for line in truth if line["hostile"]]
    own = [line["synthetic"] for line in hostile if not line["cover"]]
    assert own == [False] * 20 + [True] * (len(own) - 20)
    assert 15 <= sum(bool(line["cover"]) for line in hostile) <= 45
    assert not any(line["synthetic"] or line["cover"] for line in truth if not line["hostile"])
    assert {line["thief"] for line in truth} == {"thief-jbda-1", None}


def test_the_same_seed_writes_the_same_log(digits: Target) -> None:
    """Byte for byte; another seed writes another."""
    logs = [_play([_thief(digits, seed=seed)], digits)[0] for seed in (3, 3, 4)]
    assert logs[0] == logs[1] != logs[2]


@pytest.mark.parametrize("split", ["round-robin", "class", "region", "block", "random"])
def test_accounts_share_one_conversation(digits: Target, split: str) -> None:
    """The queries are those of a single account, told by several clients of one thief."""
    alone, _ = _play([_thief(digits)], digits)
    events, truth = _play([_thief(digits, disguise=Disguise(accounts=5, split=split))], digits)
    vectors = [[json.loads(line)["input"] for line in log] for log in (alone, events)]
    assert vectors[0] == vectors[1]
    assert len({json.loads(line)["client"]["id"] for line in events}) in range(2, 6)
    assert {line["thief"] for line in truth} == {"thief-jbda-1"}


def test_accounts_name_organisations_and_take_half_a_day(digits: Target) -> None:
    """Ten accounts of two organisations with three user agents, over twelve hours; innocents say nothing of either."""
    disguise = Disguise(accounts=10, organizations=2, user_agents=3, hours=12.0)
    events, _ = _play([_thief(digits, disguise=disguise), innocent("steady", 0, digits, 20, 6.0, 1)], digits)
    parsed = [PredictionEvent.model_validate_json(line) for line in events]
    said = {event.client.id: (event.client.organization, event.client.user_agent) for event in parsed}
    assert said.pop("steady-1") == (None, None)
    assert len(said) == 10
    assert {organization for organization, _ in said.values()} == {"thief-jbda-1-org-1", "thief-jbda-1-org-2"}
    assert len({agent for _, agent in said.values()}) == 3
    moments = [event.time_ms for event in parsed if event.client.id != "steady-1"]
    assert 8 < (moments[-1] - moments[0]) / 3_600_000 < 16


def test_a_slow_drip_takes_days(digits: Target) -> None:
    """Twenty queries at ten a day take about two days."""
    events, _ = _play([_thief(digits, disguise=Disguise(per_day=10.0), budget=20)], digits)
    first, last = (PredictionEvent.model_validate_json(events[place]).time_ms for place in (0, -1))
    assert 1.0 < (last - first) / 86_400_000 < 4.0


def test_records_stay_records_in_a_log() -> None:
    """Whole numbers and codes are logged as such, and repeats are marked."""
    loans = named("loans")
    events, truth = _play([_thief(loans, "one_feature_bisect", Disguise(repeats=0.5), budget=80)], loans)
    assert loans.columns is not None
    assert loans.columns.admits(np.array([json.loads(line)["input"]["vector"] for line in events])).all()
    assert 20 < sum(bool(line["cover"]) for line in truth) < 60


def test_what_became_of_a_thief(digits: Target) -> None:
    """Counts are those of the truth; the copy gets better; an innocent has none."""
    players = [_thief(digits, "active_uncertainty", budget=120), innocent("steady", 0, digits, 30, 6.0, 1)]
    _play(players, digits)
    told = judged(players[0], digits, [30])
    assert (told.queries, told.synthetic, told.cover, told.accounts) == (120, 0, 0, 1)
    assert sorted(told.copies) == [30, 120]
    assert 0.3 < told.copies[30] < told.copies[120]
    assert judged(players[0], digits, [30], copies=False).copies == {}
    assert judged(players[1], digits, [30]) == Summary("steady-1", "steady", False, 1, 30, 0, 0, {})


def test_a_conversation_that_ends_frees_the_rest(digits: Target) -> None:
    """A thief whose pool is used up stops before his budget."""
    player = _thief(digits, "active_k_center_inputs", budget=1000)
    events, _ = _play([player], digits)
    assert len(events) == len(digits.attacker.vectors)


@pytest.mark.parametrize(
    ("role", "disguise", "said"),
    [
        ("jbdb", Disguise(), "no attack 'jbdb'"),
        ("path_finding", Disguise(), "takes tabular data, not image"),
        ("jbda", Disguise(accounts=2, split="colour"), "round-robin, class, region, pair, block, random, not 'colour'"),
        ("jbda", Disguise(cover=0.5, cover_profile="nobody"), "no benign profile 'nobody'"),
    ],
)
def test_what_does_not_go_together_is_refused(digits: Target, role: str, disguise: Disguise, said: str) -> None:
    """Messages name what there is."""
    with pytest.raises(ConfigError, match=said):
        _thief(digits, role, disguise)


def test_what_goes_with_pictures_only_is_refused_for_records() -> None:
    """Blinding, and profiles of the other kind."""
    loans = named("loans")
    with pytest.raises(ConfigError, match="blinding is for pictures"):
        _thief(loans, "uniform", Disguise(jitter=0.1))
    with pytest.raises(ConfigError, match="video takes image data, not tabular"):
        innocent("video", 0, loans, 10, 6.0, 1)
    wine = named("mlp:wine")
    with pytest.raises(ConfigError, match="knockoff_random takes image data"):
        _thief(wine, "knockoff_random")


def test_woven_searches_put_queries_between_two_steps(digits: Target) -> None:
    """With ten searches woven the first made query comes after ten first pictures, and a flush puts cover before it."""
    _, plain = _play([_thief(digits, "line_search")], digits)
    _, woven = _play([_thief(digits, "line_search", Disguise(weave=10))], digits)
    _, flushed = _play([_thief(digits, "line_search", Disguise(flush=7))], digits)
    first = [next(i for i, line in enumerate(truth) if line["synthetic"]) for truth in (plain, woven, flushed)]
    assert first[1] >= 20
    assert first[2] == first[0] + 7
    assert [line["cover"] for line in flushed[first[2] - 7 : first[2] + 1]] == [True] * 7 + [False]


def test_one_pair_an_account(digits: Target) -> None:
    """No account asks on both sides of a natural query that follows a made one."""
    _, truth = _play([_thief(digits, "line_search", Disguise(accounts=30, split="pair"))], digits)
    for one, following in pairwise(truth):
        begins = one["synthetic"] and not following["synthetic"]
        assert (one["client"] != following["client"]) == begins
