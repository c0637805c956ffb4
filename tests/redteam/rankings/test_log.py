"""The prediction log of a recommender's clients."""

import json

import pytest

from detector.clock import HeldClock
from detector.errors import ConfigError
from detector.ingest.assemble import Assembler
from detector.redteam.rankings.clients import ATTACKS, HABITS
from detector.redteam.rankings.log import INPUTS, cast, columns, item_id, play
from detector.redteam.rankings.measured import Scene
from detector.redteam.rankings.users import WINDOW


def test_every_event_is_valid_and_its_first_item_is_the_label(stage: Scene) -> None:
    """The detector reads the log as it is written: no record is refused, in the order of time."""
    askers = cast([*ATTACKS, *HABITS], stage.shop, 2, 20, 1)
    lines = [event for event, _ in play(askers, stage.model.after)]
    assert len(lines) == 2 * 20 * (len(ATTACKS) + len(HABITS))
    batches, rejected, _ = Assembler(HeldClock(1_900_000_000_000)).assemble(lines, "log", first_line=1, first_sequence=0)
    assert not rejected
    assert sum(map(len, batches)) == len(lines)
    events = [json.loads(line) for line in lines]
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    assert len({event["event_id"] for event in events}) == len(events)
    assert {len(event["input"]["columns"]) for event in events} == {WINDOW}
    assert all(event["output"]["ranking"][0].startswith("item-") for event in events)


def test_the_truth_stands_beside_the_log(stage: Scene) -> None:
    """Who is hostile, and as what he asks; no event says it."""
    for event, truth in play(cast(["traverse", "browse"], stage.shop, 1, 3, 1), stage.model.after):
        said, known = json.loads(event), json.loads(truth)
        assert known["event_id"] == said["event_id"]
        assert known["client"] == said["client"]["id"]
        assert known["hostile"] == (known["role"] == "traverse")
        assert b"hostile" not in event


def test_the_same_seed_writes_the_same_log_whoever_else_asks(stage: Scene) -> None:
    """A client's queries do not depend on the others, nor on the day."""

    def asked(kinds: list[str], seed: int, day: int = 0) -> list[object]:
        (mine, *_) = askers = cast(kinds, stage.shop, 1, 30, seed, day)
        list(play(askers, stage.model.after))
        return [history for history, _ in mine.heard]

    assert asked(["natural"], 1) == asked(["natural", "batch"], 1) == asked(["natural"], 1, day=3)
    assert asked(["natural"], 1) != asked(["natural"], 2)


def test_a_thief_who_has_asked_everything_ends(stage: Scene) -> None:
    """And the others go on."""
    askers = cast(["traverse", "random"], stage.shop, 1, 100, 0)
    assert sum(1 for _ in play(askers, lambda _: (1,))) == min(2 * stage.model.items, 100) + 100


def test_a_kind_that_is_none_is_named(stage: Scene) -> None:
    """With those that there are."""
    with pytest.raises(ConfigError, match=r"no client 'knockoff' .* traverse, .* browse"):
        cast(["knockoff"], stage.shop, 1, 1, 0)


def test_a_history_may_be_logged_as_a_vector(stage: Scene) -> None:
    """Of the catalogue, with a mark for each item of the window; the answers are the same."""
    played = [list(play(cast(["natural"], stage.shop, 1, 20, 1), stage.model.after, form)) for form in INPUTS]
    for (by_name, _), (by_mark, _) in zip(*played, strict=True):
        named, marked = json.loads(by_name), json.loads(by_mark)
        assert marked["output"] == named["output"]
        held = {item_id(item) for item, mark in enumerate(marked["input"]["vector"]) if mark}
        assert held == {name for name in named["input"]["columns"].values() if name is not None}
        assert len(marked["input"]["vector"]) == stage.model.items


def test_a_long_history_is_logged_by_its_latest_items() -> None:
    """The latest item first; without one all values are missing."""
    logged = columns(tuple(range(20)))
    assert list(logged) == [f"item_{place}" for place in range(1, WINDOW + 1)]
    assert list(logged.values())[:2] == ["item-019", "item-018"]
    assert set(columns(()).values()) == {None}
