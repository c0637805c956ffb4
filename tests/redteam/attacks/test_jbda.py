import numpy as np
import numpy.typing as npt
import pytest

from detector.redteam.attacks.jbda import jbda
from detector.redteam.conversation import Array, converse
from detector.redteam.jacobian_steps import Spread
from detector.redteam.loans import Lender
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim

_STEP = 25.5 / 255 * 16.0


def _play(victim: Victim, budget: int, step: float = 25.5 / 255) -> tuple[Array, npt.NDArray[np.bool_]]:
    pool = victim.attacker
    client = jbda(victim.setting(pool, np.random.default_rng(5)), step=step)
    vectors, _, synthetic = converse(client, victim.predict, budget)
    return vectors, synthetic


def test_each_round_doubles_the_set_by_flat_steps(victim: Victim) -> None:
    """Every made query is an earlier one plus or minus the step in each pixel, before clipping to the range."""
    vectors, _ = _play(victim, 160)
    for size in (20, 40, 80):
        parents, children = vectors[:size], vectors[size : 2 * size]
        offset = children - parents
        clipped = (children == 0.0) | (children == 16.0)
        np.testing.assert_allclose(np.abs(offset[~clipped]), _STEP)
        assert np.all(np.abs(offset) <= _STEP + 1e-9)
        assert (offset[~clipped] > 0).any()
        assert (offset[~clipped] < 0).any()


def test_seeds_are_natural_distinct_and_uneven(victim: Victim) -> None:
    """The first 20 queries are different pictures of the pool, not two of each class; what follows is made."""
    vectors, synthetic = _play(victim, 60)
    pool = victim.attacker
    label_of = {row.tobytes(): int(label) for row, label in zip(pool.vectors, pool.labels, strict=True)}
    labels = [label_of[row.tobytes()] for row in vectors[:20]]
    assert len({row.tobytes() for row in vectors[:20]}) == 20
    assert np.ptp(np.bincount(labels, minlength=10)) > 1
    assert synthetic.tolist() == [False] * 20 + [True] * 40


def test_steps_keep_the_label_that_reversed_steps_lose(victim: Victim) -> None:
    """The substitute knows something of the victim: the own label is likelier along its gradient than against."""
    toward, _ = _play(victim, 40)
    against, _ = _play(victim, 40, step=-25.5 / 255)
    label = victim.predict(toward[:20]).argmax(axis=1)
    for_it, against_it = (victim.predict(vectors[20:])[np.arange(20), label].mean() for vectors in (toward, against))
    assert for_it > against_it + 0.1


def test_a_small_pool_is_used_up_and_an_empty_one_refused(victim: Victim) -> None:
    """Fewer pictures than seeds are all asked; none at all is an error."""
    few = victim.attacker.vectors[:3]
    client = jbda(Setting(few, victim.attacker.labels[:3], np.random.default_rng(0), victim.value_range, 10))
    _, _, synthetic = converse(client, victim.predict, 12)
    assert synthetic.tolist() == [False] * 3 + [True] * 9
    empty = jbda(Setting(few[:0], victim.attacker.labels[:0], np.random.default_rng(0), victim.value_range, 10))
    with pytest.raises(ValueError, match="at least one natural picture"):
        converse(empty, victim.predict, 1)


@pytest.mark.parametrize("spread", ["range", "deviation"])
def test_in_tables_each_number_has_a_step_of_its_own(applied: Lender, spread: Spread) -> None:
    """Numbers move by one size a column, in whole steps of its grid, unless an end of the range is in the way; codes stay."""
    columns = applied.columns
    client = jbda(applied.setting(applied.attacker, np.random.default_rng(2)), step=0.1, spread=spread)
    vectors, _, synthetic = converse(client, applied.predict, 80)
    assert synthetic.tolist() == [False] * 20 + [True] * 60
    assert columns.admits(vectors).all()
    moves = vectors[20:40] - vectors[:20]
    assert not moves[:, list(columns.categorical)].any()
    for column in columns.numeric:
        inside = (vectors[20:40, column] > columns.low[column]) & (vectors[20:40, column] < columns.high[column])
        sizes = np.unique(np.abs(moves[inside, column]).round(6))
        assert len(sizes[sizes > 0.0]) == 1


def test_without_a_substitute_signs_are_random(victim: Victim) -> None:
    """Every value moves by the step, about as often up as down."""
    pool = victim.attacker
    client = jbda(victim.setting(pool, np.random.default_rng(5)), law="undirected")
    vectors, _, _ = converse(client, victim.predict, 40)
    inside = (vectors[20:] > 0.0) & (vectors[20:] < 16.0)
    moves = (vectors[20:] - vectors[:20])[inside]
    np.testing.assert_allclose(np.abs(moves), _STEP)
    assert (moves > 0.0).any()
    assert (moves < 0.0).any()
