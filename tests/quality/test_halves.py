import pytest

from tests.quality.goals import GROUPS, MOST_BEHIND
from tests.quality.halves import behind, gaps, harassed, met, met_in_time, of_half, reached
from tests.quality.made_cells import innocence, theft
from tests.quality.worlds import HELD_OUT

OPEN, HELD = "phishing", "solar"


def test_thieves_are_counted_within_each_number() -> None:
    """Those met later or never do not count; around seeds only the queries that were made are counted."""
    construction, synthetic = GROUPS["construction"], GROUPS["synthetic"]
    found = met([theft(OPEN, "construction", 6, 16, 17, 40, None)], construction)
    assert found is not None
    assert [(one["count"], one["of"]) for one in found] == [(2, 5), (3, 5)]
    stepped = met([theft(OPEN, "synthetic", 6, 32, 34, None)], synthetic)
    assert stepped is not None
    assert [one["count"] for one in stepped] == [2, 3]
    assert met([theft(OPEN, "foreign", 6)], construction) is None


def test_a_thief_is_met_in_time_before_his_copy_has_most() -> None:
    """His queries of cover count too; one who stole nothing does not, nor does who hides nothing."""
    learned = (22.0, 21.0, None, 50.0)
    knowing = theft(OPEN, "design-aware", 20, 20, 20, None, evasion="weaving", learned=learned)
    found = met_in_time([knowing, theft(OPEN, "construction", 6)])
    assert found is not None
    assert (found["count"], found["of"]) == (1, 3)
    assert met_in_time([theft(OPEN, "design-aware", 20, evasion="weaving", learned=(None,))]) is None
    behind_in_time = [theft(HELD, "design-aware", None, evasion="weaving", learned=(22.0,)), knowing]
    assert any("before 80% of the lead: held out 0% (0 of 1)" in line for line in behind(behind_in_time))


def test_worlds_are_held_out_or_open() -> None:
    """A cell belongs to one half, that of its world."""
    assert HELD in HELD_OUT
    cells = [theft(OPEN, "foreign", 6), theft(HELD, "foreign", 6)]
    assert of_half(cells, "held out") == cells[1:]
    assert of_half(cells, "open") == cells[:1]


def test_a_half_that_falls_behind_is_named_with_its_numbers() -> None:
    """Nine of ten against eight is allowed, against seven it is not; which half is better does not matter."""
    ours = [theft(OPEN, "construction", *[6] * 9, None)]
    allowed = [theft(HELD, "construction", *[6] * 8, None, None)]
    assert behind([*ours, *allowed]) == []
    fallen = [theft(HELD, "construction", *[6] * 7, *[None] * 3)]
    assert behind([*ours, *fallen]) == [
        f"construction, stopped within {most}: held out 70% (7 of 10), open 90% (9 of 10): 20 percentage points behind, "
        "at most 10 are allowed"
        for most in (16, 30)
    ]
    assert behind([theft(HELD, "construction", 6), theft(OPEN, "construction", None)]) == []


def test_innocents_who_are_met_more_often_are_a_gap_too() -> None:
    """Profiles of the benign past and others are counted apart."""
    cells = [innocence(OPEN, "known", 10, 0), innocence(HELD, "known", 10, 0)]
    cells += [innocence(OPEN, "later", 10, 0), innocence(HELD, "held-out", 5, 1), innocence(HELD, "later", 5, 1)]
    assert [line.split(":")[0] for line in behind(cells)] == [
        "never seen innocents, throttled or stopped",
        "never seen innocents, alerted on",
    ]
    assert len(gaps(cells)) == 6


def test_one_half_is_not_compared() -> None:
    """Somebody who plays a single world gets no verdict."""
    assert gaps([theft(OPEN, "construction", None)]) == []
    assert reached([theft(OPEN, "construction", None)], "known") is None


def test_profiles_that_are_throttled_too_often_are_named() -> None:
    """One in five is allowed, over all worlds together."""
    cells = [
        innocence(OPEN, "later", 5, 1),
        innocence(OPEN, "later", 5, 3, "tab_smote"),
        innocence(HELD, "later", 5, 0, "tab_smote"),
    ]
    assert [name for name, _ in harassed(cells)] == ["tab_smote"]
    assert harassed(cells)[0][1]["share"] == pytest.approx(0.3)


def test_goals_are_shares_within_growing_numbers() -> None:
    """Every group says what it asks for, or why it asks for nothing."""
    assert 0.0 < MOST_BEHIND < 1.0
    for name, group in GROUPS.items():
        assert group.id == name
        assert group.within[0] < group.within[1]
        assert all(share is None or 0.0 < share <= 1.0 for share in group.shares)
        assert group.why or any(share is not None for share in group.shares)
