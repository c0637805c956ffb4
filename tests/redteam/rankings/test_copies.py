"""The copy, and the measures."""

import numpy as np
import pytest

from detector.redteam.rankings.clients import ATTACKS, Start, converse
from detector.redteam.rankings.copies import agreement, best_copy, copy_of
from detector.redteam.rankings.measured import Scene
from detector.redteam.rankings.recommender import Recommender, blank


def test_agreement_is_a_share_of_ten_whatever_the_order() -> None:
    """And a list that is shorter agrees in no more than it names."""
    ten = np.arange(10)[None]
    assert agreement(ten, ten[:, ::-1]) == 1.0
    assert agreement(ten, ten[:, :3]) == pytest.approx(0.3)
    assert agreement(ten, ten + 5) == pytest.approx(0.5)


def test_a_copy_learns_from_what_was_told(stage: Scene) -> None:
    """The walk over the catalogue gives a copy that agrees far more than one that has learned nothing; more queries, more."""
    windows = stage.honest.windows
    own, items = stage.model.rankings(windows), stage.model.items
    start = Start(items, [], np.random.default_rng(0))
    heard = converse(ATTACKS["traverse"].begin(start), stage.model.after, 2 * items)

    def agreed(copy: Recommender) -> float:
        return agreement(copy.rankings(windows), own)

    nothing = agreed(blank(items, np.random.default_rng(1)))
    few, many = (agreed(best_copy(heard[:budget], own, windows, items, 0)) for budget in (items // 6, 2 * items))
    assert nothing + 0.1 < few < many
    assert many > 0.6


def test_answers_without_an_item_teach_nothing(stage: Scene) -> None:
    """They are left out, and where there are no others it says so."""
    heard = [((1,), (2, 3)), ((2,), ())]
    assert np.array_equal(copy_of(heard, 60, 0, 0.8).told, copy_of(heard[:1], 60, 0, 0.8).told)
    with pytest.raises(ValueError, match="no history"):
        copy_of([((1,), ())], stage.model.items, 0, 0.8)
