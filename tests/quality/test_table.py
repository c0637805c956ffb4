from typing import Any

from detector.redteam.sessions import Disguise
from tests.quality.cells import summed
from tests.quality.scenario import Goal, Innocence, Limits, Theft
from tests.quality.table import markdown

NAMES = ("ours/stop", "ours/throttle", "ours/alert", "prada/calibrated", "prada/published")


def theft(name: str, cover: float, after: int | None, *, promised: bool = True) -> dict[str, Any]:
    """A cell with one thief who was met `after` so many queries."""
    goal = Goal("stop", 10, share=1.0, tolerance=0.0, promised=promised, why="" if promised else "a reason")
    cell = Theft(name, "digits", "mlp", "jbda", goal, Disguise(cover=cover))
    one = None if after is None else {"queries": after + 20, "after": after, "synthetic": after}
    played = {
        "moments": {detector: [one if detector.startswith("ours") else None] for detector in NAMES},
        "evidence": {},
        "copies": {"ours/stop": [0.25]},
        "whole": [0.75],
        "bystanders": 0,
        "caught": {},
        "asked": [100],
        "made": [80],
        "learned": [],
        "seconds": 0.1,
        "wire": "uint8 / full",
    }
    return summed(cell, played)


def innocence(name: str, stopped: int) -> dict[str, Any]:
    """A cell with four innocents, of whom some were stopped."""
    cell = Innocence(name, "digits", "mlp", "video", "known", Limits(alert=0.0, throttle=0.0, stop=0.0))
    met = dict.fromkeys(NAMES, 0) | dict.fromkeys(NAMES[:3], stopped) | {"prada/published": 4}
    evidence = {"stop": {"aim": stopped} if stopped else {}}
    return summed(
        cell, {"sessions": 4, "queries": 400, "met": met, "evidence": evidence, "seconds": 0.1, "wire": "uint8 / full"}
    )


def test_a_row_says_when_and_what_had_leaked() -> None:
    """Target, share in time, queries with those made, copy, and both thresholds of a published detector."""
    text = markdown([theft("digits-mlp.jbda", 0.0, 4)])
    row = next(line for line in text.splitlines() if line.startswith("| jbda |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:5] == ["jbda", "stop 100% in 10", "100 [21, 100]", "100 [21, 100]", "24 (4)"]
    assert cells[7:9] == ["25% of 75%", "0 / 0"]
    assert set(cells[9:]) == {"-"}


def test_what_is_missed_stands_out() -> None:
    """A promise that is not kept is in the overview and marked in its row; an aim is marked in its row only."""
    text = markdown(
        [
            theft("digits-mlp.jbda", 0.0, 40),
            theft("digits-mlp.jbda.cover-50", 0.5, None, promised=False),
            innocence("digits-mlp.innocent.video", 1),
        ]
    )
    overview = text.split("## digits-mlp")[0]
    assert "2 cells, 1 with a promise, of which 1 is not kept: `digits-mlp.jbda`." in overview
    assert "1 with a promise, of which 1 is not kept: `digits-mlp.innocent.video`." in overview
    assert text.count("**missed**") == 2
    assert text.count("**passed**") == 1
    assert "(aim)" in next(line for line in text.splitlines() if line.startswith("| jbda.cover-50"))


def test_the_overview_adds_up() -> None:
    """Innocents of all profiles are counted together, thieves are averaged attack by attack."""
    cells = [theft("digits-mlp.jbda", 0.0, 4), theft("digits-mlp.jbda.cover-95", 0.95, None)]
    cells += [innocence("digits-mlp.innocent.video", 0), innocence("digits-mlp.innocent.blur", 2)]
    lines = markdown(cells).splitlines()
    assert "| `ours/stop` | 100 | 0 |" in lines
    assert any(line.startswith("| `ours/stop` | 25 [") and line.endswith("] of 8 |") for line in lines)
    assert any(line.startswith("| `prada/published` | 100 [") for line in lines)


def test_a_table_of_nothing_is_a_heading() -> None:
    """Without cells there is no table and no fault."""
    assert markdown([]).startswith("# Detection quality")
