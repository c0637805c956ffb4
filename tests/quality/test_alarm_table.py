import json
from pathlib import Path
from typing import Any

import pytest

from detector.errors import OutputError
from tests.quality.alarm_table import markdown, publish, summed
from tests.quality.intervals import wilson


def _block(world: str, profile: str, sessions: int, stops: int = 0, alerts: int = 0) -> dict[str, Any]:
    return {
        "world": world,
        "profile": profile,
        "sessions": sessions,
        "queries": 600 * sessions,
        "alert": max(alerts, stops),
        "throttle": stops,
        "stop": stops,
        "evidence": {"alert": {"novelty": max(alerts, stops)}, "throttle": {}, "stop": {"offset": stops} if stops else {}},
        "seconds": 1.0,
    }


BLOCKS = [
    _block("digits-mlp", "video", 50, alerts=2),
    _block("digits-mlp", "steady", 50),
    _block("loans-forest", "tab_steady", 40),
    _block("digits-mlp", "video", 30, stops=1),
    _block("loans-forest", "tab_steady", 40),
]


def test_figures_add_up() -> None:
    """Profiles of a world make the world, worlds make the whole, in sessions, queries and counts, and so do the blocks."""
    rows = {(row["world"], row["profile"]): row for row in summed(BLOCKS)}
    assert list(rows) == [
        ("digits-mlp", "steady"),
        ("digits-mlp", "video"),
        ("loans-forest", "tab_steady"),
        ("digits-mlp", "all"),
        ("loans-forest", "all"),
        ("all", "all"),
    ]
    assert rows["digits-mlp", "video"]["sessions"] == 80
    assert (rows["digits-mlp", "video"]["alert"]["count"], rows["digits-mlp", "video"]["stop"]["count"]) == (3, 1)
    for key in ("sessions", "queries", "seconds"):
        single = sum(row[key] for (_, profile), row in rows.items() if profile != "all")
        worlds = sum(rows[world, "all"][key] for world in ("digits-mlp", "loans-forest"))
        assert single == worlds == rows["all", "all"][key] == sum(block[key] for block in BLOCKS)
    for action in ("alert", "throttle", "stop"):
        assert rows["all", "all"][action]["count"] == sum(block[action] for block in BLOCKS)
        evidence = rows["all", "all"]["evidence"][action]
        assert sum(evidence.values()) == sum(sum(block["evidence"][action].values()) for block in BLOCKS)


def test_a_goal_is_held_or_shown_or_passed() -> None:
    """One in 10,000 is held, none in 10,000 does not show it yet, none in 40,000 does, two in 10,000 pass it."""
    found = {
        (sessions, stops): summed([_block("digits-mlp", "steady", sessions, stops)])[-1]["stop"]
        for sessions, stops in ((10_000, 1), (10_000, 0), (40_000, 0), (10_000, 2))
    }
    assert {key: (one["held"], one["shown"]) for key, one in found.items()} == {
        (10_000, 1): (True, False),
        (10_000, 0): (True, False),
        (40_000, 0): (True, True),
        (10_000, 2): (False, False),
    }
    assert wilson(0, 38_412).high < 1e-4 < wilson(0, 38_400).high


def test_the_table_names_the_profiles_and_the_goals() -> None:
    """One row a profile, a world and the whole, the evidence beside it, and what became of each goal."""
    text = markdown(summed(BLOCKS))
    assert "210 clients asked 126,000 queries." in text
    assert "Goal for stop: at most 1 in 10,000; measured 47.6" in text
    assert "**passed**" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[1:]] == [
        "| steady",
        "| video",
        "| tab_steady",
        "| **digits-mlp**",
        "| **loans-forest**",
        "| **all**",
    ]
    assert lines[2].endswith("| novelty, offset |")


def test_what_is_published_is_what_was_counted(tmp_path: Path) -> None:
    """A line a row, the whole last; goals that are passed are named, others are not."""
    said = publish(BLOCKS, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "false-alarms.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == summed(BLOCKS)
    assert said == [
        "alert: 3 of 210 clients, more than the goal of 1 in 1,000",
        "stop: 1 of 210 clients, more than the goal of 1 in 10,000",
    ]
    assert publish(BLOCKS[1:3], tmp_path) == []
    with pytest.raises(OutputError, match="cannot write"):
        publish(BLOCKS, tmp_path / "missing")
