"""Attacks and benign habits ask what they say."""

from itertools import pairwise

import numpy as np
import pytest

from detector.redteam.rankings.clients import ATTACKS, HABITS, Start, converse
from detector.redteam.rankings.measured import Scene
from detector.redteam.rankings.users import WINDOW, History

KINDS = {**ATTACKS, **HABITS}


def heard(stage: Scene, kind: str, budget: int, seed: int = 0) -> list[tuple[History, History]]:
    """What a client of the kind asks and is told."""
    start = Start(stage.model.items, stage.owned, np.random.default_rng(seed))
    return converse(KINDS[kind].begin(start), stage.model.after, budget)


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_asks_about_histories_and_keeps_to_the_budget(stage: Scene, kind: str) -> None:
    """Histories have items of the catalogue, are no longer than the window, and the same seed asks the same."""
    asked = heard(stage, kind, 150)
    assert len(asked) == 150
    for history, ranking in asked:
        assert 1 <= len(history) <= WINDOW
        assert all(0 <= item < stage.model.items for item in history)
        assert ranking == stage.model.after(history)
    assert asked == heard(stage, kind, 150)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "traverse"])
def test_another_seed_asks_something_else(stage: Scene, kind: str) -> None:
    """Clients of a kind are not all the same."""
    assert heard(stage, kind, 60) != heard(stage, kind, 60, seed=1)


def test_traversal_meets_every_item_then_pairs_with_what_was_told(stage: Scene) -> None:
    """First every item alone, once; then every item after its own best neighbour."""
    items = stage.model.items
    asked = heard(stage, "traverse", 2 * items)
    assert [history for history, _ in asked[:items]] == [(item,) for item in range(items)]
    first = {history[0]: ranking[0] for history, ranking in asked[:items]}
    assert [history for history, _ in asked[items:]] == [(first[item], item) for item in range(items)]


def test_traversal_ends_when_every_pair_is_asked() -> None:
    """And does not fail where nothing is told."""
    start = Start(3, [], np.random.default_rng(0))
    assert len(converse(KINDS["traverse"].begin(start), lambda _: (), 100)) == 3
    assert len(converse(KINDS["traverse"].begin(start), lambda _: (1, 2), 100)) == 9


def test_histories_are_written_by_the_model_itself(stage: Scene) -> None:
    """Every item but the first of a history was recommended after those before it."""
    told: dict[History, History] = {}
    lengths = set()
    for history, ranking in heard(stage, "autoregressive", 200):
        told[history] = ranking
        lengths.add(len(history))
        if len(history) > 1:
            assert history[-1] in told[history[:-1]]
    assert lengths == set(range(1, WINDOW + 1))


def test_a_person_sometimes_clicks(stage: Scene) -> None:
    """Some of the items looked at next were recommended, and not all of them."""
    asked = heard(stage, "browse", 300)
    clicked = [
        after[-1] in ranking
        for (before, ranking), (after, _) in pairwise(asked)
        if len(after) > 1 and after[:-1] == before[-len(after) + 1 :]
    ]
    assert 0.2 < np.mean(clicked) < 0.95


def test_without_histories_of_people_those_who_need_them_ask_nothing() -> None:
    """They end, rather than wait for ever."""
    for kind in ("natural", "browse", "pages", "batch"):
        start = Start(30, [], np.random.default_rng(0))
        assert converse(KINDS[kind].begin(start), lambda _: (), 5) == []
