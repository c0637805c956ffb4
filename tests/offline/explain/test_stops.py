"""Stops that did not come are explained: two thieves in one minute under a limit of one, and decisions that are simulated."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from detector.config import Config
from detector.offline.explain.stops import held_back, simulated
from detector.offline.replay import replay
from tests.offline.explain.test_terminal import words

if TYPE_CHECKING:
    from tests.offline.explain.conftest import Day


@pytest.fixture(scope="module")
def limited(day: "Day", tmp_path_factory: pytest.TempPathFactory) -> "Day":
    """Replay the day with every thief under two names, of which policy stops one."""
    home = tmp_path_factory.mktemp("limited")
    log = home / "live.jsonl"
    log.write_text("\n".join(chain.from_iterable(map(_twofold, day.log.read_text().splitlines()))))
    return _replayed(replace(day, log=log), home / "out", new_stops_per_minute=1)


def _twofold(line: str) -> Iterator[str]:
    yield line
    event = json.loads(line)
    if event["client"]["id"] == "thief":
        event["client"]["id"] = "twin"
        yield json.dumps({**event, "event_id": f"{event['event_id']} again"})


def _replayed(day: "Day", out: Path, **policy: Any) -> "Day":
    settings = Config.model_validate({"policy": {"trust_clients": True, "shadow": False, **policy}})
    config = settings.with_baseline(day.config.baseline.path)
    replay([str(day.log)], out, config, day.baseline)
    return replace(day, folder=out, config=config)


def test_a_stop_that_was_held_back_says_by_what(limited: "Day") -> None:
    levels = {str(record["client"]): record["level"] for record in limited.records("clients.jsonl")}
    assert levels["thief"] == "block"
    found = limited.explain("twin")
    assert found.headline.endswith("and was held back: the highest level is throttle.")
    (advice,) = [line for line in found.advice if "held back" in line]
    assert "[policy] new_stops_per_minute allows 1. It is stopped by its next evidence" in advice
    assert "in place of a stop: [policy] new_stops_per_minute allows 1" in words(found)
    assert not any("held back" in line or "simulated" in line for line in limited.explain("thief").advice)


def test_a_stop_that_came_after_all_is_told_as_one(day: "Day") -> None:
    """The decisions of a client, as they would be recorded: held back at first, then stopped."""
    found = day.explain("thief")
    stop = next(decision for decision in found.decisions if decision.action != "throttle")
    throttle = replace(stop, action="throttle", text="flat steps; not stopped: [policy] stopped_share allows 0.1")
    (told,) = held_back(found.trace, [throttle, stop])
    assert "stopped_share allows 0.1. It was stopped by later evidence." in told
    (told,) = held_back(found.trace, [])
    assert told.startswith("Evidence called for a stop, and no stop was decided.")


def test_the_setting_that_simulates_is_named(day: "Day", tmp_path: Path) -> None:
    """The whole policy, one model, or the channels of the evidence."""
    assert any("([policy] shadow)" in line for line in day.explain("thief").advice)
    own = Config.model_validate({"policy": {"trust_clients": True, "shadow": False}, "models": {"digits": {"shadow": True}}})
    found = day.explain("thief")
    assert "([models.digits] shadow)" in next(simulated(found.trace, own, found.decisions))
    by_channel = _replayed(day, tmp_path / "out", shadow_channels=["bisect"]).explain("thief")
    assert any("because of bisect were simulated" in line for line in by_channel.advice)
    by_hand = [replace(decision, origin="manual", simulated=True) for decision in found.decisions]
    real = Config.model_validate({"policy": {"trust_clients": True, "shadow": False}})
    assert not list(simulated(found.trace, real, by_hand)), "no setting made them so"
