"""What is told in place of the ten best items."""

import numpy as np
import pytest

from detector.redteam.rankings.defences import KEPT, first, swapped
from detector.redteam.rankings.measured import Scene


def test_fewer_items_are_the_first_ones(stage: Scene) -> None:
    """In their order."""
    windows = stage.honest.windows[:50]
    assert np.array_equal(first(3)(stage.model, windows), stage.model.rankings(windows)[:, :3])


def test_swaps_keep_the_first_places_and_change_the_others(stage: Scene) -> None:
    """Four of the seven places below are other items, each still told once, and the label is the model's own."""
    windows = stage.honest.windows[:200]
    own, told = stage.model.rankings(windows), swapped(b"k")(stage.model, windows)
    assert np.array_equal(told[:, :KEPT], own[:, :KEPT])
    assert ((told != own).sum(axis=1) == 4).all()
    for ranking, plain in zip(told.tolist(), own.tolist(), strict=True):
        assert len(set(ranking)) == 10
        assert len(set(ranking) & set(plain)) == 6


def test_asking_again_averages_nothing_out(stage: Scene) -> None:
    """The same question has the same answer, alone or among others; another secret gives other swaps."""
    windows = stage.honest.windows[:100]
    told = swapped(b"k")(stage.model, windows)
    assert np.array_equal(told[40:41], swapped(b"k")(stage.model, windows[40:41]))
    assert not np.array_equal(told, swapped(b"other")(stage.model, windows))


def test_questions_that_are_answered_alike_have_the_same_swaps(stage: Scene) -> None:
    """Which places change depends on the set of the first items, and on nothing else."""
    windows = stage.honest.windows
    own, told = stage.model.rankings(windows), swapped(b"k")(stage.model, windows)
    places: dict[frozenset[int], set[tuple[bool, ...]]] = {}
    for plain, ranking in zip(own.tolist(), told.tolist(), strict=True):
        changed = tuple(a != b for a, b in zip(plain, ranking, strict=True))
        places.setdefault(frozenset(plain[:KEPT]), set()).add(changed)
    assert all(len(patterns) == 1 for patterns in places.values())
    assert len(set.union(*places.values())) > 10
    assert len(places) < len(windows)


@pytest.mark.parametrize(("secret", "kept", "exchanged"), [(b"", 3, 4), (b"k", 3, 8), (b"k", 3, 0)])
def test_swaps_that_cannot_be_are_refused(secret: bytes, kept: int, exchanged: int) -> None:
    """No secret, or more places than there are."""
    with pytest.raises(ValueError, match=r"secret|exchanged"):
        swapped(secret, kept, exchanged)
