import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.redteam.k_center import greedy_k_center


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 40), centres=st.integers(0, 3))
def test_the_radius_shrinks_and_nothing_is_chosen_twice(seed: int, count: int, centres: int) -> None:
    """Distances at the moment of choice never grow, and the last one covers all points."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(30, 3))
    chosen, radii = greedy_k_center(points, points[:centres], count)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, 30)
    assert (np.diff(radii) <= 1e-12).all()
    if len(chosen):
        kept = np.vstack([points[:centres], points[chosen]])
        cover = np.linalg.norm(points[:, None] - kept[None], axis=2).min(axis=1).max()
        assert cover <= radii[-1]
