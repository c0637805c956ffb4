"""The budget: thresholds that keep it, labels, and detections against false alarms without a second replay."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import detector
from detector.engine.evidence.accumulate import CHANNELS
from detector.engine.policy import ALERT_SHARE, BLOCK_SHARE, PolicySettings, thresholds_for
from detector.errors import ConfigError, SourceError
from detector.offline import analysis
from detector.offline.analysis.budget import LADDER, trade_off

if TYPE_CHECKING:
    from tests.offline.conftest import Day

LABELS = {"thief-0": True, "thief-1": True, **{f"client-{i}": False for i in range(6)}}


def _under(config: detector.Config, budget: float) -> detector.Config:
    return analysis.with_budget(config, false_alerts_per_1000=budget, false_blocks_per_10000=budget)


def test_a_budget_changes_what_it_names_and_nothing_else() -> None:
    """The rest of the policy and of the configuration stay, and so does a budget that is not named."""
    config = detector.load_config()
    changed = analysis.with_budget(config, false_alerts_per_1000=7.0)
    assert changed.policy.false_alerts_per_1000 == 7.0
    assert changed.policy.false_blocks_per_10000 == config.policy.false_blocks_per_10000
    assert changed.model_copy(update={"policy": config.policy}) == config
    assert changed.version != config.version


def test_a_budget_out_of_range_is_refused() -> None:
    """As it would be in a file."""
    with pytest.raises(ConfigError, match=r"policy.false_blocks_per_10000: Input should be greater than 0, not 0"):
        analysis.with_budget(detector.load_config(), false_blocks_per_10000=0)


def test_thresholds_are_those_of_policy(day: "Day") -> None:
    """Every kind of evidence has a row; construction stops at its threshold, novelty throttles and never stops."""
    table = analysis.thresholds(day.baseline, day.config).set_index("evidence")
    known = day.baseline.models["model"]
    found = thresholds_for(PolicySettings(), known.norms.session_scores, known.channel_scores, known.reviewed)
    assert list(table.index) == [*CHANNELS, "novelty"]
    assert list(table.loc["novelty", ["alert", "throttle"]]) == [found.alert, found.throttle]
    assert list(table.loc["offset", ["alert", "perturb", "block"]]) == pytest.approx(
        [share * found.stop[0] for share in (ALERT_SHARE, 1.0, BLOCK_SHARE)]
    )
    novel = table[table["kind"] == "novelty"]
    assert novel[["perturb", "block"]].isna().all(axis=None)
    assert table["alert"].notna().all()
    assert (table["highest_benign"] >= 0).all()


@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1e3))
def test_a_larger_budget_never_raises_a_threshold(day: "Day", one: float, other: float) -> None:
    """Whatever evidence it is for."""
    small, large = sorted((one, other))
    strict, lenient = (analysis.thresholds(day.baseline, _under(day.config, budget)) for budget in (small, large))
    heights = [name for name in LADDER if strict[name].notna().any()]
    assert (lenient[heights].fillna(0) <= strict[heights].fillna(0)).all(axis=None)


def test_the_way_of_a_client_is_that_of_its_alerts(day: "Day") -> None:
    """Under the policy of the run: the level, what led there, and the count at the first alert of each severity."""
    reached = day.results.reached().set_index("client")
    levels = day.results.clients.set_index("client")["level"]
    assert reached["level"].to_dict() == levels.to_dict()
    alerts = day.results.alerts
    for place, name in enumerate(LADDER):
        first = alerts[alerts["action"].isin(LADDER[place:])].groupby("client")["queries"].min()
        assert reached[name].dropna().to_dict() == first.to_dict()
    quiet = reached[reached["level"] == "allow"]
    assert len(quiet) >= 1
    assert quiet[["evidence", *LADDER]].isna().all(axis=None)


@pytest.mark.parametrize("budget", [1e-4, 0.5, 50.0, 900.0])
def test_a_moved_budget_finds_what_a_replay_would(day: "Day", budget: float) -> None:
    """The thresholds are applied to the evidence that was kept, and a second replay under that budget goes the same way."""
    config = _under(day.config, budget)
    again = detector.replay(day.log, config, baseline=day.baseline)
    pd.testing.assert_frame_equal(day.results.reached(config), again.reached())


def test_a_protected_client_is_throttled_at_most(day: "Day") -> None:
    """Any part of the policy can be tried, such as a list of clients that must not be stopped."""
    policy = day.config.policy.model_copy(update={"never_block": ("thief-0",)})
    reached = day.results.reached(day.config.model_copy(update={"policy": policy})).set_index("client")
    assert reached.loc["thief-0", "level"] == "throttle"
    assert "thief-0" not in reached["perturb"].dropna()
    assert reached.loc["thief-1", "level"] == "block"


def test_the_trade_off_counts_clients_by_label(day: "Day") -> None:
    """Thieves and innocents, what each suffered, and how soon; who has no label is not counted."""
    table = day.results.trade_off(LABELS, [day.config, _under(day.config, 900.0)])
    assert table["thieves"].tolist() == [2, 2]
    assert table["thieves_stopped"].tolist() == [2, 2]
    assert table["innocents"].tolist() == [6, 6]
    assert table["innocents_stopped"].tolist() == [0, 0]
    assert table["innocents_alerted"].is_monotonic_increasing
    reached = day.results.reached().set_index("client").loc[["thief-0", "thief-1"]]
    assert table["queries_to_stop"].iloc[0] == np.median(reached["perturb"].to_numpy(float))
    some = day.results.trade_off({"thief-0": True, "nobody": False}, [day.config])
    assert some[["thieves", "innocents"]].to_numpy().tolist() == [[1, 0]]


def test_a_client_of_two_models_counts_once(day: "Day") -> None:
    """It is stopped as soon as it is on either, and where nobody was stopped there is no number of queries."""
    rows = [["a", "m", 9, "block", "offset", 3, 4, 5, 6], ["a", "n", 9, "alert", "novelty", 2, None, None, None]]
    columns = ["client", "model", "queries", "level", "evidence", *LADDER]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(LADDER, "Int64"))
    row = trade_off([(day.config, table)], {"a": True}).iloc[0]
    assert (row["thieves"], row["thieves_stopped"], row["queries_to_alert"], row["queries_to_stop"]) == (1, 1, 2.0, 5.0)
    row = trade_off([(day.config, table.iloc[1:])], {"a": True}).iloc[0]
    assert (row["thieves_alerted"], row["thieves_stopped"]) == (1, 0)
    assert np.isnan(row["queries_to_stop"])


def test_labels_are_read_from_both_forms(tmp_path: Path) -> None:
    """A table, and lines with one query each; a thief anywhere is a thief."""
    table = tmp_path / "labels.csv"
    table.write_text("\ufeffclient,hostile,remark\nacme,0,\nmallory,Yes,seen\nbob,,\n", encoding="utf-8")
    assert analysis.read_labels(table) == {"acme": False, "mallory": True, "bob": False}
    lines = tmp_path / "log.truth.jsonl"
    responses = [("acme", False), ("mallory", False), ("mallory", True), ("mallory", False)]
    lines.write_text(
        "\n".join(json.dumps({"client": client, "hostile": hostile, "role": "x"}) for client, hostile in responses)
    )
    assert analysis.read_labels(str(lines)) == {"acme": False, "mallory": True}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,hostile\nacme,1\n", ":1: the columns client and hostile are needed"),
        ("client,hostile\nacme,1\nbob,perhaps\n", ":3: hostile must be 1 or 0, not 'perhaps'"),
        ('{"client": "acme"}\n', ":1: not an object with client and hostile"),
        (
            '{"client": "acme", "hostile": false}\n\n{"client": "bob", "hostile": 1}\n',
            ":3: hostile must be true or false, not 1",
        ),
        ('{"client": "acme", "hostile": fal', ":1: not an object with client and hostile"),
    ],
)
def test_labels_that_cannot_be_read_are_named(tmp_path: Path, text: str, said: str) -> None:
    """With file and line."""
    file = tmp_path / "labels"
    file.write_text(text)
    with pytest.raises(SourceError, match=f"labels{said}"):
        analysis.read_labels(file)


def test_missing_labels_are_an_error(tmp_path: Path) -> None:
    """Rather than a log without thieves."""
    with pytest.raises(SourceError, match="cannot read the labels"):
        analysis.read_labels(tmp_path / "gone.csv")
