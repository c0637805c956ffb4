"""The investigation guide: it names everything that an alert can hold, and what it tells people to do works."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from detector.config import PolicySection
from detector.contracts import Alert, Decision
from detector.contracts.alert import EvidenceKind
from detector.engine.evidence.accumulate import CHANNELS, MAY_STOP
from detector.engine.evidence.registry import EVIDENCE
from detector.engine.features.row import NAMES
from detector.engine.policy import ACTIONS
from detector.sinks.sample import sample_alert


@pytest.fixture(scope="module")
def guide() -> str:
    """Return the text."""
    return (Path(__file__).parents[2] / "docs" / "pages" / "investigation-guide.md").read_text("utf-8")


def rows(guide: str, heading: str) -> set[str]:
    """Return the names in code type in the first column of the table under a heading."""
    section = guide.split(f"## {heading}\n")[1].split("\n## ", maxsplit=1)[0]
    return {
        name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    }


def test_every_channel_of_construction_is_explained(guide: str) -> None:
    """Each has a row of its own, with what else triggers it, and no row is about one that is gone."""
    assert rows(guide, "Evidence of construction") == {name for name, stops in zip(CHANNELS, MAY_STOP, strict=True) if stops}
    section = guide.split("## Evidence of construction\n")[1].split("\n## ", maxsplit=1)[0]
    cells = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    assert all(len(row) == 5 and all(cell.strip() for cell in row) for row in cells)


def test_every_channel_of_novelty_is_explained(guide: str) -> None:
    """Each has a paragraph that begins with its name."""
    section = guide.split("## Evidence of novelty\n")[1].split("\n## ", maxsplit=1)[0]
    for name in ("novelty", *(name for name, stops in zip(CHANNELS, MAY_STOP, strict=True) if not stops)):
        assert f"\n`{name}`: " in section


def test_every_feature_is_explained(guide: str) -> None:
    """All features of an alert have a row, and no row is about one that is gone."""
    assert rows(guide, "Features") == set(NAMES)


def test_every_rule_kind_and_action_is_named(guide: str) -> None:
    """The short form names all evidence; actions that change something for the client have a row."""
    short = guide.split("## In short\n")[1].split("\n## ", maxsplit=1)[0]
    assert [name for name in EVIDENCE if f"`{name}`" not in short] == []
    assert {name for name in get_args(EvidenceKind) if name in guide} >= {"novelty", "construction"}
    assert rows(guide, "What is done, and how it ends") == set(ACTIONS) - {"allow"}


def test_the_short_form_fits_a_rule_s_note(guide: str) -> None:
    """It is short enough to stand beside an alert, and has no table, which not every console shows."""
    short = guide.split("## In short\n")[1].split("\n## ", maxsplit=1)[0]
    assert len(short) < 2500
    assert "|" not in short


def test_every_field_is_one_that_alerts_have(guide: str) -> None:
    """Fields that the guide names are in the alert's schema."""
    alert = json.loads(Alert.model_validate(sample_alert()).model_dump_json(by_alias=True))
    named = set(re.findall(r"`((?:event|detector|user|service|organization|source)\.[a-z_.]+)`", guide))
    assert len(named) > 12
    for name in named:
        place = alert
        for part in name.split("."):
            place = place[0] if isinstance(place, list) else place
            assert part in place, name
            place = place[part]


def test_every_setting_is_one_that_there_is(guide: str) -> None:
    """Keys of [policy] that the guide names exist."""
    named = set(re.findall(r"`\[policy\] ([a-z_0-9]+)`", guide))
    assert named
    assert named <= set(PolicySection.model_fields)


def test_the_record_that_lifts_is_a_valid_decision(guide: str) -> None:
    """What people are told to publish keeps to the contract, and has the key that is named."""
    text = guide.split("```json\n")[1].split("```", maxsplit=1)[0]
    decision = Decision.model_validate_json(text)
    assert (decision.action, decision.origin) == ("allow", "manual")
    assert f"Key `{decision.key}`" in guide


def test_every_command_is_one_that_there_is(guide: str) -> None:
    """Commands that the guide names answer to --help, with the options that it uses."""
    for command in set(re.findall(r"`detector ([a-z-]+)[^`]*`", guide)):
        said = subprocess.run(
            [sys.executable, "-m", "detector", command, "--help"], capture_output=True, text=True, check=False
        )
        assert said.returncode == 0, command
        for option in re.findall(rf"`detector {command}[^`]*?(--[a-z]+)", guide):
            assert option in said.stdout
