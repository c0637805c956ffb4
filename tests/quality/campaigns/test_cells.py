from dataclasses import replace

import numpy as np
import pytest

from detector.redteam.victim import Pool
from tests.quality.campaigns.cells import PASSES, Pass, benign_cell, campaign_cell, chosen_passes, passes_of
from tests.quality.campaigns.dealt import Theft
from tests.quality.campaigns.found import Found, Group
from tests.quality.campaigns.table import markdown
from tests.quality.campaigns.traffic import Account, Traffic
from tests.quality.campaigns.worlds import HELD_OUT, WORLDS

PASS = Pass(WORLDS["digits-all"], "round-robin", 4, 0.0, ("jbda",))
BENIGN = [Account(f"account-{number}", "steady") for number in range(3)]
THIEVES = [Account(f"jbda-{number}", "jbda", campaign="jbda") for number in range(4)]
PLACES = np.array([0, 3, 1, 4, 2, 5, 0, 6, 1, 3, 2, 4, 0, 5, 1, 6])  # innocents and the four accounts of a thief, in turn
TRAFFIC = Traffic(
    np.zeros((16, 2), np.float32),
    np.zeros((16, 2), np.float32),
    np.arange(16) / 16.0,
    PLACES,
    PLACES > 2,
    np.zeros(16, np.bool_),
    BENIGN + THIEVES,
)
THEFT = Theft(
    "jbda", np.zeros((8, 2)), np.ones(8, np.bool_), np.zeros(8, np.bool_), Pool(np.zeros((1, 2)), np.zeros(1, np.int64))
)
NOTHING = Found((), {}, {}, {}, 26.0, 234.0)


def test_ids_are_never_the_same() -> None:
    """Every pass has an id of its own; held-out worlds have a day without a thief and nothing else."""
    assert len({one.id for one in PASSES}) == len(PASSES)
    assert [one.id for one in PASSES if one.world.held_out] == [f"{world}.benign" for world in WORLDS if world in HELD_OUT]
    assert {"digits-all.benign", "patches-all.round-robin-100.cover-50", "fraud-all.pair-100"} <= {one.id for one in PASSES}


def test_nobody_looks_at_what_is_held_out_by_mistake() -> None:
    """Without being asked for, no pass of a held-out world is played, quick or not."""
    for quick in (False, True):
        assert not any(one.world.held_out for one in chosen_passes([], None, quick=quick))
        assert {one.world.id for one in chosen_passes([], "held-out", quick=quick)} == HELD_OUT
    assert {one.world.id for one in chosen_passes(["wide-all"], None, quick=True)} == {"wide-all"}
    assert len(list(passes_of(WORLDS["fraud-all"], quick=True))) < len(list(passes_of(WORLDS["fraud-all"])))


def test_a_campaign_that_nobody_finds() -> None:
    """No alarm, nobody named; each account counts."""
    cell = campaign_cell(PASS, THEFT, TRAFFIC, NOTHING)
    assert cell["id"] == "digits-all.round-robin-4.jbda"
    assert (cell["alarm"], cell["queries"], cell["made"], cell["accounts"]) == (None, 8, 8, 4)
    assert [cell[part]["active"] for part in ("quarter", "half", "end")] == [2, 4, 4]
    assert cell["end"]["named"] == {"of": 4, "count": 0, "share": 0.0, "low": 0.0, "high": pytest.approx(0.4899, abs=1e-4)}


def test_accounts_are_named_by_parts_of_the_budget() -> None:
    """The fourth query of the campaign, at 7/16 of a day, raises the alarm; by then two accounts are named, later three."""
    found = replace(
        NOTHING,
        told={"jbda-3": 7 / 16},
        named={"jbda-0": 7 / 16, "jbda-3": 7 / 16, "jbda-1": 15 / 16, "account-1": 0.5},
        met={"jbda-3": 15 / 16},
    )
    cell = campaign_cell(PASS, THEFT, TRAFFIC, found)
    assert cell["alarm"] == 4
    assert [cell[part]["named"]["count"] for part in ("quarter", "half", "end")] == [0, 2, 3]
    assert [cell[part]["met"]["count"] for part in ("quarter", "half", "end")] == [0, 0, 1]


def test_innocents_beside_a_thief_and_alone() -> None:
    """An innocent in a thief's group counts as named beside a thief; only groups without any thief are innocent groups."""
    groups = (
        Group(("jbda-0", "jbda-1", "account-0"), 300.0, {"flat steps": 9}, reviewed=True, stopped=True),
        Group(("account-1", "account-2"), 40.0, {"flat steps": 5}, reviewed=True, stopped=False),
        Group(("account-2",), 3.0, {"flat steps": 1}, reviewed=False, stopped=False),
    )
    found = replace(NOTHING, groups=groups, named={"account-0": 0.1, "account-1": 0.2, "jbda-0": 0.1}, met={"account-0": 0.1})
    cell = benign_cell(PASS, TRAFFIC, found)
    assert cell["id"] == "digits-all.round-robin-4.innocents"
    assert (cell["named"]["count"], cell["named"]["of"], cell["beside_a_thief"], cell["met"]["count"]) == (2, 3, 1, 1)
    assert cell["groups"] == {"reviewed": 1, "stopped": 0}
    assert [group["evidence"] for group in cell["largest"]] == [40.0, 3.0]
    assert cell["queries"] == 8
    assert cell["roles"] == {"steady": 2}


def test_the_table_says_what_the_cells_say() -> None:
    """Each world has its campaigns and its innocents; days without a thief are pooled by half."""
    quiet = [benign_cell(Pass(WORLDS[name]), TRAFFIC, NOTHING) for name in ("digits-all", "portrait-day")]
    cells = [*quiet, benign_cell(PASS, TRAFFIC, NOTHING), campaign_cell(PASS, THEFT, TRAFFIC, NOTHING)]
    table = markdown(cells, "Two days.")
    assert "Two days." in table
    assert "| `round-robin-4.jbda` | - | 0 (2) | 0 | 0 | 0 (2) | 0 | 0 |" in table
    assert "| `benign` | 0: 0.00 [0.00, 56.15] |" in table
    assert "| held out | 1 | 3 |" in table
    assert "| open | 1 | 3 |" in table
