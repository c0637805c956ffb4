import numpy as np

from detector.redteam.attacks.finite_differences import finite_differences, jacobian
from detector.redteam.columns import TableColumns
from detector.redteam.conversation import Array, converse, found_by
from detector.redteam.setting import Setting
from detector.redteam.space import Space


def _curved(X: Array) -> Array:
    p = 1.0 / (1.0 + np.exp(-(X @ np.array([1.0, -2.0, 0.5]))))
    return np.column_stack([1.0 - p, p])


def test_the_gradient_is_read_off() -> None:
    """Derivatives agree with the model's own, to second order in the step, also at the border of the range."""
    space = Space.of(None, (0.0, 1.0), 3)
    point = np.array([0.3, 0.6, 0.5])
    p = _curved(point[None])[0]
    found, asked = found_by(jacobian(point, p, space, np.random.default_rng(0), step=0.01), _curved)
    np.testing.assert_allclose(found[:, 1], p[0] * p[1] * np.array([1.0, -2.0, 0.5]), rtol=1e-3)
    assert asked == 6
    corner = np.array([0.0, 1.0, 0.5])
    p = _curved(corner[None])[0]
    found, asked = found_by(jacobian(corner, p, space, np.random.default_rng(0), step=0.001), _curved)
    np.testing.assert_allclose(found[:, 1], p[0] * p[1] * np.array([1.0, -2.0, 0.5]), rtol=1e-2)
    assert asked == 4


def test_probes_mirror_each_other_and_leave_codes_alone() -> None:
    """Every pair lies on both sides of its record, one column apart; whole numbers move by one."""
    rows = np.array([[5.0, 0.5, 1.0], [90.0, 8.5, 0.0], [40.0, 4.25, 2.0], [41.0, 4.5, 1.0]])
    columns = TableColumns.of(rows, categorical=[2])
    client = finite_differences(Setting(rows[2:], np.zeros(2, dtype=np.int64), np.random.default_rng(3), columns=columns))
    vectors, _, synthetic = converse(client, _curved, 5)
    assert synthetic.tolist() == [False, True, True, True, True]
    for up, down in (vectors[1:3], vectors[3:5]):
        np.testing.assert_allclose((up + down) / 2.0, vectors[0])
        assert ((up != down).sum(), up[2]) == (1, vectors[0][2])
    assert sorted(np.abs(vectors[1:] - vectors[0]).max(axis=1).round(6).tolist()) == [0.08, 0.08, 1.0, 1.0]
