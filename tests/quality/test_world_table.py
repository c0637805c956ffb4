from tests.quality.made_cells import innocence, theft
from tests.quality.transfer import priced
from tests.quality.world_table import markdown

OPEN, HELD = "phishing", "solar"


def _cells() -> list[dict[str, object]]:
    cells = [theft(OPEN, "construction", 6, 6), theft(HELD, "construction", 6, None)]
    cells += [
        theft(OPEN, "design-aware", None, 20, evasion="weaving", learned=(90.0, 30.0)),
        theft("bananas", "construction", 6),
    ]
    cells += [innocence(OPEN, "known", 5, 0), innocence(HELD, "known", 5, 0), innocence(HELD, "later", 4, 1)]
    return priced(cells)


def test_the_halves_stand_side_by_side_with_their_wires() -> None:
    """The half that is held out is on the left, both begin with their sum, and every world names model and wire."""
    lines = markdown(_cells()).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("## Construction, stopped"))
    assert lines[first + 2].startswith("| held out (model; wire) | within 16 | within 30 | open (model; wire) |")
    assert lines[first + 4] == (
        "| **all held out** | 50 [9, 91] of 2 missed | 50 [9, 91] of 2 missed "
        "| **all open** | 100 [44, 100] of 3 | 100 [44, 100] of 3 |"
    )
    assert lines[first + 5].startswith("| `solar` (tree; grid / full) | 50 [9, 91] of 2 missed |")
    assert "| `phishing` (forest; grid / full) | 100" in lines[first + 5]
    assert lines[first + 6].startswith("|  |  |  | `bananas` (boosting; grid / full) |")


def test_the_summary_says_how_far_behind() -> None:
    """A line for each figure of both halves; one that is too far behind stands out."""
    text = markdown(_cells(), "A note.")
    assert "A note." in text
    assert "| **construction, stopped within 16** | 50 [9, 91] of 2 | 100 [44, 100] of 3 | +50 |" in text
    assert "| known innocents, stopped | 0 [0, 43] of 5 | 0 [0, 43] of 5 | +0 |" in text


def test_innocents_and_what_hiding_costs_are_there() -> None:
    """Shares of those who were met, those who are met too often, and the price beside the plain attack."""
    text = markdown(_cells())
    assert "## Innocents, never seen (goal: at most stop 0.5%, throttle 5%, alert 10%)" in text
    assert "which no profile should be: `tab_steady`" not in text
    assert "| `weaving` | 1 | +0 | 0 [0, 66] of 2 | 50 [9, 91] of 2 | 50 [9, 91] of 2 | 60 | - | 50 [9, 91] of 2 |" in text
    assert "`tab_steady` 50" in markdown([innocence(HELD, "later", 4, 2)])


def test_thieves_who_know_the_design_are_held_to_what_they_had_learned() -> None:
    """The goal is met or missed by half and by world; where nobody stole anything there is no figure."""
    knowing = [theft(HELD, "design-aware", 20, evasion="weaving", learned=(10.0,))]
    knowing += [theft(HELD, "design-aware", 20, evasion="copula", learned=(None,))]
    text = markdown(priced([*_cells(), *knowing]))
    assert "## Thieves who know the design, throttled or stopped (goal: 50% before 80% of the lead)" in text
    assert "| **all held out** | 0 [0, 66] of 2 | 100 [34, 100] of 2 | 0 [0, 79] of 1 missed | **all open**" in text
    assert "**thieves who know the design, throttled or stopped before 80% of the lead** | 0 [0, 79] of 1 | 50" in text
    assert "| **all** |  |  |  |  |  |  | 0 [0, 79] of 1 | 50 [9, 91] of 2 |" in text
    assert "| 100 [21, 100] of 1 | - | - | - |" in text


def test_one_half_alone_has_no_empty_columns() -> None:
    """Somebody who plays a single world sees that world."""
    text = markdown([theft(OPEN, "construction", 6)])
    assert "| open (model; wire) | within 16 | within 30 |" in text
    assert "held out (model" not in text
    assert "nothing is compared" in text
    assert markdown([]).startswith("# Detection on worlds")
