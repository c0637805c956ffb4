import numpy as np
import pytest

from detector.redteam.foreign_pools import FOREIGN, foreign_pool


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("side", [8, 28])
def test_every_kind_draws_varied_pictures_in_range(kind: str, side: int) -> None:
    """Finite, in the value range, with contrast, never twice the same, and determined by the generator."""
    drawn = [FOREIGN[kind](side * side, np.random.default_rng(seed), (-1.0, 3.0)) for seed in (0, 1, 2, 2)]
    for picture in drawn:
        assert picture.shape == (side * side,)
        assert picture.min() >= -1.0
        assert picture.max() <= 3.0
        assert np.ptp(picture) > 0.0
    assert np.array_equal(drawn[2], drawn[3])
    assert not np.array_equal(drawn[0], drawn[1])


def test_kinds_differ_in_how_rough_they_are() -> None:
    """Neighbouring pixels of a field differ less than those of a texture, relative to the contrast."""
    rough = {}
    for kind in ("fields", "textures"):
        pictures = np.stack([FOREIGN[kind](400, np.random.default_rng(seed), (0.0, 1.0)) for seed in range(30)])
        steps = np.diff(pictures.reshape(30, 20, 20), axis=2).std(axis=(1, 2))
        rough[kind] = float(np.mean(steps / pictures.std(axis=1)))
    assert rough["fields"] < rough["textures"] / 2.0


def test_a_pool_holds_all_kinds() -> None:
    """Pictures of all kinds in turn, and a dimension that is no square is refused."""
    assert foreign_pool(7, 64, np.random.default_rng(0), (0.0, 1.0)).shape == (7, 64)
    with pytest.raises(ValueError, match="not a square"):
        foreign_pool(1, 65, np.random.default_rng(0), (0.0, 1.0))
