"""The second run: it finds what the first found, and says where it cannot stand for it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from detector.config import PolicySection
from detector.errors import SourceError
from detector.offline.explain import explain

if TYPE_CHECKING:
    from tests.offline.explain.conftest import Day


def test_a_second_run_reaches_the_same_level(day: "Day") -> None:
    """A thief, a stranger and a reader are what the record says of them; at most a new kind of client is noted beside it."""
    levels = {line["client"]: line["level"] for line in day.records("clients.jsonl")}
    assert {client: levels[client] for client in ("thief", "stranger", "reader-0")} == {
        "thief": "block",
        "stranger": "throttle",
        "reader-0": "allow",
    }
    for client in ("thief", "stranger", "reader-0"):
        found = day.explain(client)
        assert found.level == levels[client]
        assert all("unlike every known one" in warning for warning in found.warnings)
    assert day.explain("thief").queries == 60


def test_each_of_several_models_has_its_own_explanation(day: "Day") -> None:
    """The queries of the model that was asked for are counted; without a baseline for it no feature is judged."""
    assert day.explain("twofold", "digits").queries == 9
    other = day.explain("twofold", "other")
    assert other.features[0].side == "unknown"
    assert any("no baseline for this model" in warning for warning in other.warnings)


def test_another_configuration_or_baseline_is_warned_about(day: "Day") -> None:
    """The warning names both versions; the explanation follows the configuration of now."""
    policy = PolicySection(never_block=("thief",))
    changed = day.config.model_copy(update={"policy": policy})
    found = explain("thief", None, day.folder, changed, day.baseline)
    assert found.level == "throttle"
    assert any(changed.version in warning and day.config.version in warning for warning in found.warnings)
    assert any("level throttle now, block then" in warning for warning in found.warnings)
    assert any("never_block" in line for line in found.advice)
    without = explain("thief", None, day.folder, day.config, None)
    assert any(day.baseline.version in warning and "none now" in warning for warning in without.warnings)


def test_a_client_whose_log_was_replaced_is_not_found(day: "Day", tmp_path: Path) -> None:
    """A log without the client, under the name of the one with it, is no reason to explain somebody else."""
    log = tmp_path / "live.jsonl"
    log.write_bytes(b"\n".join(line for line in day.log.read_bytes().splitlines() if b'"thief' not in line))
    (tmp_path / "clients.jsonl").write_bytes((day.folder / "clients.jsonl").read_bytes())
    summary = json.loads((day.folder / "summary.json").read_bytes())
    (tmp_path / "summary.json").write_text(json.dumps(summary | {"logs": [str(log)]}))
    with pytest.raises(SourceError, match=r"do not name it now.*--config"):
        explain("thief", None, tmp_path, day.config, day.baseline)
