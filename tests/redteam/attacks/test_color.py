import numpy as np
import pytest

from detector.redteam.attacks.color import color
from detector.redteam.conversation import Array, converse
from detector.redteam.setting import Setting


def _answer(X: Array) -> Array:
    return np.full((len(X), 2), 0.5)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_channel_moves_by_one_constant(channels: int) -> None:
    """The offset to the parent takes one value a channel wherever nothing was clipped."""
    pool = np.random.default_rng(0).uniform(0.3, 0.7, (4, 48))
    client = color(Setting(pool, np.zeros(4, dtype=np.int64), np.random.default_rng(1)), seeds=4, channels=channels)
    vectors, _, synthetic = converse(client, _answer, 8)
    assert synthetic.tolist() == [False] * 4 + [True] * 4
    offsets = (vectors[4:] - vectors[:4]).reshape(4, -1, channels)
    np.testing.assert_allclose(offsets, offsets[:, :1].repeat(offsets.shape[1], axis=1), atol=1e-12)
    assert np.abs(offsets).max() <= 64 / 255


def test_pixels_must_divide_the_picture() -> None:
    """A wrong number of channels is said in words."""
    client = color(Setting(np.zeros((1, 4)), np.zeros(1, dtype=np.int64), np.random.default_rng(0)), channels=3)
    with pytest.raises(ValueError, match="3 channels"):
        next(client)
