"""The table, and what is measured over HTTP."""

import pytest

from detector.errors import EndpointError
from detector.redteam.rankings import measured
from detector.redteam.rankings.clients import ATTACKS
from detector.redteam.rankings.measured import DEFENCES, Row, Scene, budgets, markdown, over_http, served, table
from detector.redteam.rankings.users import History


def test_budgets_are_a_tenth_a_third_and_all() -> None:
    """Each once, and none of them 0."""
    assert budgets(30) == [3, 10, 30]
    assert budgets(1) == [1]


def test_cells_of_the_table(stage: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Truncation costs thieves and honest users; more queries give a better copy."""
    monkeypatch.setattr(measured, "budgets", lambda queries: [queries // 10, queries])
    plain, told = (measured._defended(defence, stage, 90, 0) for defence in ("none", "top 3"))
    assert set(plain) == {(attack, queries) for attack in ATTACKS for queries in (9, 90)}
    for attack in ATTACKS:
        (agreed, copied, worth), (less, _, fewer) = plain[attack, 90], told[attack, 90]
        assert plain[attack, 9][0] < agreed <= 1.0
        assert 0.0 <= copied <= 1.0
        assert less < agreed
        assert fewer.hits < worth.hits
        assert fewer.ndcg < worth.ndcg


@pytest.mark.parametrize("defence", DEFENCES)
def test_every_defence_can_be_served(stage: Scene, defence: str) -> None:
    """It answers with items of the catalogue, each once; what the label is stays, where the model was not trained anew."""
    history = stage.owned[0][:4]
    ranking = served(defence, stage, 0)(history)
    assert 1 <= len(ranking) <= 10
    assert len(set(ranking)) == len(ranking)
    if not defence.startswith("GRO"):
        assert ranking[0] == stage.model.after(history)[0]


def test_the_rows_as_a_table() -> None:
    """An attack that was not measured is a dash; the copy's hit rate is that of the best copy."""
    rows = [Row("none", "traverse", 100, 0.5, 0.1, 0.25, 0.5, 0.3), Row("none", "natural", 100, 0.4, 0.1, 0.3, 0.5, 0.3)]
    assert markdown(rows).splitlines()[-1] == "| none | 100 | 50% | - | - | 40% | 30.0% | 50.0% | 0.300 |"
    assert table(rows).row_count == 1


def test_a_recommender_elsewhere_is_copied_without_histories_of_people(stage: Scene) -> None:
    """Attacks that need them are left out; one that tells too little to be compared with is refused."""
    found = over_http(stage.model.after, stage.model.items, 120, 0)
    assert set(found) == {"traverse", "autoregressive", "random"}
    assert found["traverse"] > 0.4

    def two(history: History) -> History:
        return stage.model.after(history, 2)

    with pytest.raises(EndpointError, match="no answer names 10 items"):
        over_http(two, stage.model.items, 20, 0)


def test_means_and_spread_over_seeds(monkeypatch: pytest.MonkeyPatch, stage: Scene) -> None:
    """A row is the mean of the seeds, and its spread their range."""
    monkeypatch.setattr(measured, "scene", lambda seed, _: stage._replace(owned=stage.owned[seed:]))
    monkeypatch.setattr(measured, "budgets", lambda queries: [queries])
    notes: list[str] = []
    rows = measured.measure(12, 2, defences=["top 1"], note=notes.append)
    singles = [measured._defended("top 1", stage._replace(owned=stage.owned[seed:]), 12, seed) for seed in range(2)]
    row = next(row for row in rows if (row.attack, row.queries) == ("natural", 12))
    agreements = [single["natural", 12][0] for single in singles]
    assert row.agreement == pytest.approx(sum(agreements) / 2, abs=1e-4)
    assert row.spread == pytest.approx(abs(agreements[0] - agreements[1]), abs=1e-4)
    assert len(rows) == 4
    assert notes[-1] == "seed 1: top 1"
