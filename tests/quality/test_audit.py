from dataclasses import replace

from detector.redteam.registry import ATTACKS, PROFILES
from tests.quality.audit import faults
from tests.quality.scenario import Goal, Innocence, Theft
from tests.quality.scenarios import CELLS

JBDA = next(cell for cell in CELLS if isinstance(cell, Theft) and cell.id == "digits-mlp.jbda")
VIDEO = next(cell for cell in CELLS if isinstance(cell, Innocence) and cell.id == "digits-mlp.innocent.video")


def test_the_table_is_complete() -> None:
    """Every attack, profile and published detector has a cell, every cell a target, every id is used once."""
    assert faults(CELLS) == []


def test_an_attack_without_a_cell_is_found() -> None:
    """A new attack that nobody put into the table is named."""
    assert faults(CELLS, attacks={**ATTACKS, "brand_new": ATTACKS["jbda"]}) == ["attack brand_new is in no cell"]


def test_cells_on_data_to_be_brought_do_not_count() -> None:
    """An attack that is played on the reader's own data only would be in nobody's table."""
    kept = [cell for cell in CELLS if not (isinstance(cell, Theft) and cell.attack == "zoo" and cell.data == "digits")]
    assert faults(kept) == ["attack zoo is in no cell"]


def test_a_profile_without_a_cell_is_found() -> None:
    """A known profile has to be judged as known and left out, one that nothing was tuned on in its own wave."""
    kept = [cell for cell in CELLS if not (isinstance(cell, Innocence) and cell.profile in {"video", "lime", "elastic"})]
    found = faults([cell for cell in kept if cell.data != "mnist"])
    assert found == [
        "profile video is in no cell as known",
        "profile video is in no cell as left-out",
        "profile lime is in no cell as frozen",
        "profile elastic is in no cell as later",
    ]
    assert PROFILES["video"].wave == "known"


def test_a_published_detector_without_a_cell_is_found() -> None:
    """A detector that no cell can be played with is named."""
    tables = [cell for cell in CELLS if cell.data == "loans"]
    assert "published detector blacklight is in no cell" in faults(tables)
    assert "published detector imagined is in no cell" in faults(CELLS, published=["prada", "imagined"])


def test_an_id_used_twice_is_found() -> None:
    """Two cells with one id are named, whatever else is in them."""
    assert faults([*CELLS, replace(JBDA, budget=100)]) == ["digits-mlp.jbda: the id is used 2 times"]


def test_a_missing_target_is_found() -> None:
    """A cell needs a target; one that asks for nothing, or only for an aim, has to say why."""
    without = replace(JBDA, id="a", goal=None)
    nothing = replace(JBDA, id="b", goal=Goal("alert", 10, share=0.0, promised=False))
    aim = replace(JBDA, id="c", goal=Goal("alert", 10, promised=False))
    free = replace(VIDEO, id="d", limits=None)
    assert faults([*CELLS, without, nothing, aim, free]) == [
        "a: no goal is set",
        "b: the goal asks for nothing and does not say why",
        "b: an aim has to say what is in the way",
        "c: an aim has to say what is in the way",
        "d: no limits are set",
    ]
