import numpy as np

from detector.redteam.attacks.zoo import descend, zoo
from detector.redteam.conversation import converse, found_by
from detector.redteam.victim import Victim


def test_a_picture_is_moved_until_its_label_flips(victim: Victim) -> None:
    """Of ten pictures most end with another label, and the last point differs little."""
    predict = victim.network.probabilities
    flipped = 0
    for picture in victim.attacker.vectors[:10]:
        label = int(predict(picture[None]).argmax())
        part = descend(picture, label, np.random.default_rng(0), (0.0, 16.0), step=0.005, rate=0.03, rounds=5)
        end, asked = found_by(part, predict)
        flipped += int(predict(end[None]).argmax() != label)
        assert asked <= 2 * 5 * 64
        assert np.abs(end - picture).mean() < 4.0
    assert flipped >= 7


def test_probes_come_in_pairs_around_one_pixel(victim: Victim) -> None:
    """Both probes of a pair differ from each other in one pixel only."""
    pool = victim.attacker
    client = zoo(victim.setting(pool, np.random.default_rng(1)))
    vectors, _, synthetic = converse(client, victim.predict, 101)
    assert not synthetic[0]
    assert synthetic[1:].all()
    assert all((up != down).sum() == 1 for up, down in zip(vectors[1::2], vectors[2::2], strict=True))
