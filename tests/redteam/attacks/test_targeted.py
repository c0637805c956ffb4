import numpy as np
import pytest

from detector.redteam.attacks.targeted import targeted
from detector.redteam.conversation import Array, converse
from detector.redteam.loans import Lender
from detector.redteam.setting import Setting
from detector.redteam.victim import Victim


def _play(victim: Victim, step: float, iterations: int) -> Array:
    pool = victim.attacker
    client = targeted(victim.setting(pool, np.random.default_rng(5)), step=step, iterations=iterations)
    return converse(client, victim.predict, 80)[0]


@pytest.mark.parametrize(("step", "iterations"), [(25.5 / 255, 1), (64 / 255, 5)])
def test_no_pixel_moves_further_than_the_step(victim: Victim, step: float, iterations: int) -> None:
    """Each round's pictures are the earlier ones within the step; several iterations also stop in between."""
    vectors = _play(victim, step, iterations)
    offset = np.abs(vectors[20:40] - vectors[:20])
    assert offset.max() <= step * 16.0 + 1e-9
    sizes = np.unique(offset[(vectors[20:40] > 0.0) & (vectors[20:40] < 16.0)].round(6))
    assert (sizes.size > 2) == (iterations > 1)


def test_the_target_gains_what_the_label_loses(victim: Victim) -> None:
    """Steps of 64/255 change most labels, which steps towards the own label would not."""
    vectors = _play(victim, 64 / 255, 5)
    labels = victim.predict(vectors[:40]).argmax(axis=1)
    assert (labels[:20] != labels[20:]).mean() > 0.4


def test_one_class_has_no_target() -> None:
    """Without another class there is nothing to step to."""
    client = targeted(Setting(np.zeros((3, 4)), np.zeros(3, dtype=np.int64), np.random.default_rng(0), classes=1))
    with pytest.raises(ValueError, match="two classes"):
        next(client)


def test_in_tables_codes_stay_and_numbers_keep_to_their_share_of_the_range(applied: Lender) -> None:
    """Each round's records are the earlier ones with every number moved by at most the step, on the column's grid."""
    columns = applied.columns
    client = targeted(applied.setting(applied.attacker, np.random.default_rng(2)), step=64 / 255, iterations=5)
    vectors, _, _ = converse(client, applied.predict, 80)
    assert columns.admits(vectors).all()
    moves = np.abs(vectors[20:40] - vectors[:20])
    assert not moves[:, list(columns.categorical)].any()
    assert (moves <= 64 / 255 * (columns.high - columns.low) + 1.0).all()
    assert (moves[:, list(columns.numeric)] > 0.0).mean() > 0.5
