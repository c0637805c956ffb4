"""Teaching a baseline that a campaign was innocent: the bars rise above it, and it is not found again."""

from dataclasses import replace
from pathlib import Path

import pytest

from detector.baseline.accept import Review
from detector.baseline.accept_campaign import accept_campaign, bars_moved
from detector.baseline.store import Baseline, load, save
from detector.engine.links.usual import HIGH_BAR, MARGIN, bars_of
from detector.engine.shard import EngineSettings
from detector.errors import BaselineError
from detector.testing import batches
from tests.engine.links.campaigns import LIVE, linked, sketched, theft

SETTINGS = EngineSettings(seed=5, policy=LIVE)
REVIEW = Review("a.person", "2026-05-04T10:50:00.000Z", "our own load test")


def found_in(lines: list[bytes], baseline: Baseline) -> tuple[str, float]:
    """Return the name and the evidence of the campaign in a log."""
    findings = linked(sketched(lines, baseline), baseline).findings
    return findings[-1].client, findings[-1].score


def test_bars_rise_above_an_accepted_campaign(digits_baseline: Baseline, tmp_path: Path) -> None:
    lines = theft()[:150]
    campaign, evidence = found_in(lines, digits_baseline)
    assert MARGIN * evidence < HIGH_BAR, "a campaign under review"
    taught = accept_campaign(digits_baseline, "digits", campaign, batches(lines), SETTINGS, REVIEW)
    assert taught.version != digits_baseline.version
    (entry,) = taught.notes["digits"]["accepted_campaigns"]
    bars = bars_of(taught.models["digits"].link_scores)[entry["kind"]]
    assert bars.low > evidence
    assert bars.high == HIGH_BAR
    assert taught.models["digits"].reference is digits_baseline.models["digits"].reference
    assert not linked(sketched(lines, taught), taught).findings
    assert entry["actor"] == "a.person"
    assert 3 <= entry["accounts"] <= 6
    assert any("are reviewed from" in sentence for sentence in bars_moved(digits_baseline, taught, "digits"))
    save(taught, tmp_path / "taught")
    assert load(tmp_path / "taught").version == taught.version
    with pytest.raises(BaselineError, match="not found in this log"):
        accept_campaign(taught, "digits", campaign, batches(lines), SETTINGS, REVIEW)


def test_a_campaign_with_evidence_for_a_stop_is_refused(digits_baseline: Baseline) -> None:
    """To accept it lets thefts with as much evidence go on, so that has to be said."""
    lines = theft()
    campaign, _ = found_in(lines, digits_baseline)
    with pytest.raises(BaselineError, match="--despite-construction"):
        accept_campaign(digits_baseline, "digits", campaign, batches(lines), SETTINGS, REVIEW)
    taught = accept_campaign(digits_baseline, "digits", campaign, batches(lines), SETTINGS, REVIEW, despite_construction=True)
    assert not linked(sketched(lines, taught), taught).findings
    assert len(bars_moved(digits_baseline, taught, "digits")) == 3


def test_who_is_not_there_is_not_accepted(digits_baseline: Baseline) -> None:
    with pytest.raises(BaselineError, match="there is no model 'faces'"):
        accept_campaign(digits_baseline, "faces", "campaign-000000000000", [], SETTINGS, REVIEW)
    few = replace(SETTINGS, max_clients=1000)
    with pytest.raises(BaselineError, match="not found in this log"):
        accept_campaign(digits_baseline, "digits", "campaign-000000000000", batches(theft(seeds=4)), few, REVIEW)
